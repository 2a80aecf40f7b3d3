"""The interface of a tracker."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from revlm.recipe import Recipe
from revlm.records import Samples, Step, Validation
from revlm.runs.folder import RunFolder

Shown: TypeAlias = Step | Validation | Samples
"""What a tracker displays: the records of the journal, and the samples of a step."""


class Tracker(Protocol):
    """Displays the records of one run. Its exceptions disable the tracker and never end the run."""

    held_step: int
    """before the first `write`, it holds every record up to this step and none after it"""

    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        """Opens its data of the run in `folder`, which resumes after `step`, and removes later records."""

    def write(self, records: Sequence[Shown]) -> None:
        """Writes the records; a later kill of the process does not lose them, or the next start repeats them."""

    def close(self) -> None:
        """Closes the tracker; the records stay."""


def last_whole_step(last_step: int, step: int) -> int:
    """The last step, at most `step`, of which a tracker certainly has every record; its last one is of `last_step`.

    The tracker may lack the evaluation of `last_step` itself.
    """
    return step if last_step > step else max(last_step - 1, 0)
