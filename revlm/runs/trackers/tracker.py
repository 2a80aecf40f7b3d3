"""The face of a tracker."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from revlm.recipe import Recipe
from revlm.records import Samples, Step, Validation
from revlm.runs.folder import RunFolder

Shown: TypeAlias = Step | Validation | Samples
"""What a tracker shows: the records of the journal, and the samples of a step."""


class Tracker(Protocol):
    """Shows the records of one run. Any exception of it is a failure of the tracker, never of the run."""

    held_step: int
    """it holds every record up to this step, and none of a later one, before the first `write`"""

    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        """Opens what it has of the run in `folder`, which goes on after `step`: later records are taken back."""

    def write(self, records: Sequence[Shown]) -> None:
        """Returns when a kill of the process cannot undo the records any more."""

    def close(self) -> None:
        """Ends writing; the records stay."""


def last_whole_step(last_step: int, step: int) -> int:
    """The last step up to `step` of which a tracker surely has every record, where its last record is of `last_step`.

    Of that step it may lack the evaluation.
    """
    return step if last_step > step else max(last_step - 1, 0)
