"""What a reader is given, what it gives, and how it says that it cannot."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from revlm.limits import DEFAULT_LIMITS, Limits

NUL = "\0"
TEXT_COLUMN = "text"
_TITLE_CHARACTERS = 300
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        text_column: the column of the text, in files of rows; a dot leads into a column of columns.
        limits: what one file may take.
        raise_if_stopped: called between small pieces of work, whether or not they give a text.
    """

    text_column: str = TEXT_COLUMN
    limits: Limits = DEFAULT_LIMITS
    raise_if_stopped: Callable[[], object] = lambda: None


PLAIN_READING = Reading()


class RawText(NamedTuple):
    """One text of a file as it stands there, in pieces that are read while they are used, before the next text.

    `place` tells it from the file's other texts ("line 3"; empty where it is the only one). `read_bytes` is its share
    of the file's bytes: they add up to the file's size, for progress. `title` is what the file calls the text.
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


def unreadable(path: Path, error: Exception) -> UnusableFileError:
    """Returns the error of a file that the system does not let us read, or that no reader can make sense of."""
    if isinstance(error, OSError):
        return UnusableFileError(path, f"cannot be read: {why(error)}", "make it readable")
    if isinstance(error, MemoryError):
        remedy = "give the process more memory, or pass a lower --max-line-bytes to name what is too large"
        return UnusableFileError(path, "cannot be read: memory ran out", remedy)
    reason = f"cannot be read ({type(error).__name__}: {why(error)})"
    return UnusableFileError(path, reason, "it is probably damaged: fetch it again")


def why(error: BaseException) -> str:
    """Returns what the system or a library says, on one line, to stand within a sentence."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    said = " ".join(said[: 10 * _TITLE_CHARACTERS].split()).rstrip(".")
    said = said if len(said) <= _TITLE_CHARACTERS else said[:_TITLE_CHARACTERS] + "…"
    return said if said[1:2].isupper() else said[:1].lower() + said[1:]  # "EOF" stays, and so does what follows


def printable(path: Path | str) -> str:
    """Returns a path as valid text: bytes of a file name that are no UTF-8 are written as escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def shown(name: object) -> str:
    """Returns a name from inside a file in quotes, cut where it is long."""
    text = str(name)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def title_of(text: object) -> str | None:
    """Returns what may be a title on one line, cut where it is long; None for what is none."""
    if not isinstance(text, str) or no_text(text[:_TITLE_CHARACTERS]):
        return None
    return " ".join(text[: 4 * _TITLE_CHARACTERS].split())[:_TITLE_CHARACTERS].strip() or None


def no_text(text: str) -> str | None:
    """Returns what a string holds that no text does, a lone surrogate or NUL, for an `Unusable`; None for a text."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        return f"holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}"
    return f"holds a NUL at character {text.index(NUL)}" if NUL in text else None
