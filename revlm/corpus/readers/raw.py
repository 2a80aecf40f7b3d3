"""What a reader gives, and how it says that it cannot."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from revlm.errors import DataError

NUL = "\0"


class RawText(NamedTuple):
    """One text of a file as it stands there, in pieces that are read while they are used, before the next text.

    `place` tells it from the file's other texts ("line 3"; empty where it is the only one). `read_bytes` is its share
    of the file's bytes: they add up to the file's size, for progress.
    """

    pieces: Iterable[str]
    read_bytes: int
    place: str = ""
    title: str | None = None


class Unusable(NamedTuple):
    """One text of a file that cannot be used, while those after it can."""

    place: str
    reason: str
    remedy: str
    read_bytes: int = 0


class UnusableFileError(Exception):
    """A file that gives no (further) text; whether that stops everything is the caller's choice."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.path, self.reason, self.remedy = path, reason, remedy

    def as_data_error(self) -> DataError:
        """Returns the error for where it does stop everything."""
        return DataError(f"{printable(self.path)} {self.reason}; {self.remedy}, or pass --errors skip to leave it out")


def unreadable(path: Path, error: OSError) -> UnusableFileError:
    """Returns the error of a file that the system does not let us read."""
    return UnusableFileError(path, f"cannot be read: {why(error)}", "make it readable")


def why(error: Exception) -> str:
    """Returns what the system or a library says, in lower case and on one line."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(said.split()).rstrip(".").lower()


def printable(path: Path | str) -> str:
    """Returns a path as valid text: bytes of a file name that are no UTF-8 are written as escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def no_text(text: str) -> str | None:
    """Returns what a string holds that no text does, a lone surrogate or NUL, for an `Unusable`; None for a text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}"
    return f"holds a NUL at character {text.index(NUL)}" if NUL in text else None
