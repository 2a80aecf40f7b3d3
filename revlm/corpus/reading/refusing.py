"""What becomes of something in a corpus that cannot be used: an error, or a line in the list of what was left out."""

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
    """Returns what is listed where `errors` is "skip"; `named` is what the error calls it, `path` the list.

    Raises:
        DataError: where `errors` is "strict".
    """
    if errors == "strict":
        raise DataError(f"{named} {reason}; {remedy}, or pass --errors skip to leave it out") from cause
    return Skipped(path, reason)
