"""What a reader takes, what it yields, and the error that it raises."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from revlm.limits import DEFAULT_LIMITS, Limits
from revlm.pictures import AS_THEY_ARE, PictureShape

DocumentKind = Literal["text", "binary", "picture"]
"""What the documents of a corpus are: texts, the bytes of any files, or pictures."""

NUL = "\0"
TEXT_COLUMN = "text"
_TITLE_CHARACTERS = 300
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        text_column: the text column in files of rows; a dotted path names a field of a struct or object.
        limits: the limits of one file.
        raise_if_stopped: called at short intervals, whether or not a text was read.
        kind: what a document is.
        pictures: what pictures become.
    """

    text_column: str = TEXT_COLUMN
    limits: Limits = DEFAULT_LIMITS
    raise_if_stopped: Callable[[], object] = lambda: None
    kind: DocumentKind = "text"
    pictures: PictureShape = AS_THEY_ARE


PLAIN_READING = Reading()


class RawText(NamedTuple):
    """One text of a file, before cleaning; its pieces are read lazily and must be consumed before the next text.

    `place` locates it in the file ("line 3"; empty where it is the only text). `read_bytes` is its share of the file's
    bytes, for progress: the shares add up to the file's size. Where that is known only at the text's end, it is a
    function that returns how much has been read so far. `title` is the title that the file gives.
    """

    pieces: Iterable[str]
    read_bytes: int | Callable[[], int]
    place: str = ""
    title: str | None = None

    def read_so_far(self) -> int:
        """Returns its share of the file's bytes, or the part of it that has been read where the share is not known."""
        return self.read_bytes if isinstance(self.read_bytes, int) else self.read_bytes()

    def share(self) -> int:
        """Returns its share of the file's bytes; where that is not known yet, the rest of the text is read first."""
        if not isinstance(self.read_bytes, int):
            deque(self.pieces, maxlen=0)
        return self.read_so_far()


class RawBytes(NamedTuple):
    """A document that is no text, as its bytes, which are not cleaned; otherwise as `RawText`."""

    pieces: Iterable[bytes]
    read_bytes: int
    place: str = ""
    title: str | None = None

    def share(self) -> int:
        """Returns its share of the file's bytes."""
        return self.read_bytes


class Unusable(NamedTuple):
    """One text of a file that cannot be used; those after it may be."""

    place: str
    reason: str
    remedy: str
    read_bytes: int = 0

    def share(self) -> int:
        """Returns its share of the file's bytes."""
        return self.read_bytes


class UnusableFileError(Exception):
    """A file gives no (further) text; the caller decides whether that is an error."""

    def __init__(self, path: PurePath, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.path, self.reason, self.remedy = path, reason, remedy


def unreadable(path: Path, error: Exception) -> UnusableFileError:
    """Returns the error for a file that raised `error` while it was read."""
    if isinstance(error, OSError):
        return UnusableFileError(path, f"cannot be read: {why(error)}", "make it readable")
    if isinstance(error, MemoryError):
        remedy = "give the process more memory, or pass a lower --max-line-bytes to find the oversized text"
        return UnusableFileError(path, "cannot be read: memory ran out", remedy)
    reason = f"cannot be read ({type(error).__name__}: {why(error)})"
    return UnusableFileError(path, reason, "it is probably damaged: fetch it again")


def why(error: BaseException) -> str:
    """Returns the message of an exception on one line, to be quoted in a sentence."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    said = " ".join(said[: 10 * _TITLE_CHARACTERS].split()).rstrip(".")
    said = said if len(said) <= _TITLE_CHARACTERS else said[:_TITLE_CHARACTERS] + "…"
    return said if said[1:2].isupper() else said[:1].lower() + said[1:]  # an acronym such as "EOF" stays in capitals


def printable(path: Path | str) -> str:
    """Returns a path as valid text: bytes of a file name that are not UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def shown(name: object) -> str:
    """Returns a name from inside a file, quoted, and truncated where it is long."""
    text = str(name)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def title_of(text: object) -> str | None:
    """Returns a title on one line, truncated where it is long; None where `text` is not a usable string."""
    if not isinstance(text, str) or no_text(text[:_TITLE_CHARACTERS]):
        return None
    return " ".join(text[: 4 * _TITLE_CHARACTERS].split())[:_TITLE_CHARACTERS].strip() or None


def no_text(text: str) -> str | None:
    """Returns why a string is not text (it holds a lone surrogate or a NUL), or None where it is."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        return f"holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}"
    return f"holds a NUL at character {text.index(NUL)}" if NUL in text else None
