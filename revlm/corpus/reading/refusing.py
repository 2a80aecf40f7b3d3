"""Turns unusable input into an error, or into an entry in the list of what was skipped."""

from dataclasses import dataclass
from typing import Literal

from revlm.errors import DataError

OnError = Literal["strict", "skip"]


@dataclass(frozen=True)
class Skipped:
    """A file, folder or text, by its path below the corpus, that gave no document, and why."""

    path: str
    reason: str


def left_out(
    errors: OnError, named: str, path: str, reason: str, remedy: str, cause: BaseException | None = None
) -> Skipped:
    """Returns the entry to list where `errors` is "skip"; the error names the input `named`, the list `path`.

    Raises:
        DataError: where `errors` is "strict".
    """
    if errors == "strict":
        raise DataError(f"{named} {reason}; {remedy}, or pass --errors skip to leave it out") from cause
    return Skipped(path, reason)
