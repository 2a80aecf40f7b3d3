"""Steps with numbers that are not finite: how they are reported, and how many a run may skip."""

from collections.abc import Iterable

from revlm.corpus import Example
from revlm.errors import NonFiniteError
from revlm.recipe import Train
from revlm.training.ranks import AgreedError

_TITLES_SHOWN = 3


class NonFinite(AgreedError):
    """A step computed a number that is not finite; the weights were not updated.

    Attributes:
        what: what is not finite, as a message names it, such as "the loss".
        titles: the documents of the example; for a gradient, those of the whole step.
    """

    order = 1

    def __init__(self, what: str, titles: list[str]) -> None:
        super().__init__(what, titles)
        self.what, self.titles = what, titles


def titles_of(examples: Iterable[Example]) -> list[str]:
    """Returns the titles of all documents of the examples, each once."""
    return list(dict.fromkeys(title for example in examples for title in example.titles))


def require_skippable(found: NonFinite, step: int, skipped: int, options: Train) -> None:
    """Checks that the recipe allows a run that has skipped `skipped` steps to skip this one too.

    Raises:
        NonFiniteError: the recipe does not allow it; the message names the step and the documents.
    """
    place = f"{found.what} of step {step} is not finite on {shown_titles(found.titles)}"
    if options.on_nonfinite == "stop":
        raise NonFiniteError(
            f"{place}: the weights were not updated; resume from the last checkpoint with a lower optimizer.lr and "
            "--allow-change, or skip such steps with train.on_nonfinite=skip"
        )
    if skipped >= options.max_skipped:
        raise NonFiniteError(
            f"{place}, after {skipped} skipped steps (train.max_skipped): the weights were not updated; resume from "
            "the last checkpoint with --allow-change and a lower optimizer.lr or a higher train.max_skipped"
        )


def shown_titles(titles: list[str]) -> str:
    """Returns the first few titles and how many more there are."""
    shown = ", ".join(titles[:_TITLES_SHOWN])
    rest = len(titles) - _TITLES_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
