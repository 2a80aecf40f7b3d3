"""Steps that are not finite: what is said of one, and how many a run may pass over."""

from collections.abc import Iterable

from revlm.corpus import Example
from revlm.errors import NonFiniteError
from revlm.recipe import Train
from revlm.training.ranks import AgreedError

_TITLES_SHOWN = 3


class NonFinite(AgreedError):
    """A step gave a number that is not finite; nothing was updated.

    Attributes:
        what: "the loss", such as it stands in a sentence.
        titles: the documents on which it happened; of a gradient all of the step.
    """

    order = 1

    def __init__(self, what: str, titles: list[str]) -> None:
        super().__init__(what, titles)
        self.what, self.titles = what, titles


def titles_of(examples: Iterable[Example]) -> list[str]:
    """Returns the titles of all documents of the examples, each once."""
    return list(dict.fromkeys(title for example in examples for title in example.titles))


def require_skippable(found: NonFinite, step: int, skipped: int, options: Train) -> None:
    """Returns where the recipe lets a run, which has skipped so many steps, pass over this one.

    Raises:
        NonFiniteError: it does not; the message names the step and the documents.
    """
    place = f"{found.what} of step {step} is not finite on {shown_titles(found.titles)}"
    if options.on_nonfinite == "stop":
        raise NonFiniteError(
            f"{place}: nothing was updated; run again from the last checkpoint with a lower optimizer.lr and "
            "--allow-change, or pass over such steps with train.on_nonfinite=skip"
        )
    if skipped >= options.max_skipped:
        raise NonFiniteError(
            f"{place}, after {skipped} steps that were passed over (train.max_skipped): nothing was updated; run again "
            "from the last checkpoint with a lower optimizer.lr and --allow-change, or a higher train.max_skipped"
        )


def shown_titles(titles: list[str]) -> str:
    """Returns the first titles, and how many more there are."""
    shown = ", ".join(titles[:_TITLES_SHOWN])
    rest = len(titles) - _TITLES_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
