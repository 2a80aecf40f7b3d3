"""Cleans every text, whatever its format: line ends, byte order mark, Project Gutenberg's front and back matter.

Nothing else changes: there is no Unicode normalization. Everything removed is counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from revlm.gutenberg import (
    HEAD_CHARACTERS,
    TAIL_CHARACTERS,
    back_matter,
    front_matter,
    prose_in_header,
    remaining_mark,
    title_in,
)

BYTE_ORDER_MARK = "\ufeff"
_LONGEST_MARK = 200  # characters of a line carried from one piece to the next when searching for a remaining mark
_SHOWN = 60


@dataclass(frozen=True)
class Cleaning:
    """What was removed or normalized between a file and its text; counts add up over documents.

    `file_bytes` is the UTF-8 length of the text plus 3 for each byte order mark, 1 for each CRLF, and the
    bytes of Project Gutenberg's front and back matter. A lone carriage return becomes a newline and changes
    no length.
    """

    file_bytes: int = 0
    byte_order_marks: int = 0
    crlf_line_ends: int = 0
    lone_carriage_returns: int = 0
    gutenberg_front_bytes: int = 0
    gutenberg_back_bytes: int = 0

    def __add__(self, other: "Cleaning") -> "Cleaning":
        return Cleaning(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def removed_bytes(self) -> int:
        """Bytes of the file that are not in the text."""
        mark_bytes = len(BYTE_ORDER_MARK.encode()) * self.byte_order_marks
        return mark_bytes + self.crlf_line_ends + self.gutenberg_front_bytes + self.gutenberg_back_bytes


class CleanedText:
    """The cleaned text as an iterator of pieces; only its beginning and end are held in memory.

    Attributes:
        title: the title in Project Gutenberg's header; known before iteration.
        front, back: the text removed at both ends, line ends normalized; `back` is known after iteration.
        cleaning: the counts of what was removed; complete after iteration.
        warnings: cuts that the user may not expect, a sentence each; complete after iteration.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self._crlf = self._lone = self._marks = self._raw_bytes = 0
        self._pieces = self._normalized(iter(pieces))
        self._beginning = self._read(HEAD_CHARACTERS + TAIL_CHARACTERS)
        front = front_matter(self._beginning)
        self.front = self._beginning[front]
        self._beginning = self._beginning[: front.start] + self._beginning[front.stop :]
        self.back = ""
        self.title = title_in(self.front)
        self.warnings: list[str] = []
        if prose := prose_in_header(self.front):
            self.warnings.append(f"text inside Project Gutenberg's header is removed with it ({_shown(prose)})")
        if front.start:
            self.warnings.append(f"{front.start:,} characters above Project Gutenberg's header are kept as text")

    def __iter__(self) -> Iterator[str]:
        held = self._beginning
        marks = _Marks()
        for piece in self._pieces:
            held += piece
            if len(held) > TAIL_CHARACTERS:
                yield marks.seen(held[:-TAIL_CHARACTERS])
                held = held[-TAIL_CHARACTERS:]
        back = back_matter(held)
        self.back = held[back]
        if behind := held[back.stop :]:
            self.warnings.append(f"{len(behind):,} characters below Project Gutenberg's licence are kept as text")
        kept = held[: back.start] + behind
        if kept:
            yield marks.seen(kept)
        if marks.first:
            self.warnings.append(
                f"a line of Project Gutenberg's is left inside the text ({_shown(marks.first)}): where the file holds "
                "several books, save each to a file of its own, or their licences stay in the text"
            )

    @property
    def cleaning(self) -> Cleaning:
        return Cleaning(
            file_bytes=self._raw_bytes,
            byte_order_marks=self._marks,
            crlf_line_ends=self._crlf,
            lone_carriage_returns=self._lone,
            gutenberg_front_bytes=utf8_length(self.front),
            gutenberg_back_bytes=utf8_length(self.back),
        )

    def _read(self, characters: int) -> str:
        """Returns the next pieces, joined: at least `characters` characters, or the rest of the text."""
        read: list[str] = []
        while characters > 0 and (piece := next(self._pieces, None)) is not None:
            read.append(piece)
            characters -= len(piece)
        return "".join(read)

    def _normalized(self, pieces: Iterator[str]) -> Iterator[str]:
        """Yields the pieces without a byte order mark and with newlines as line ends, and counts both."""
        ending, is_first = "", True  # a carriage return at a piece's end may be half of a CRLF
        for piece in pieces:
            self._raw_bytes += utf8_length(piece)
            if is_first and piece:
                is_first, self._marks = False, int(piece.startswith(BYTE_ORDER_MARK))
                piece = piece[self._marks :]
            piece = ending + piece
            ending = "\r" if piece.endswith("\r") else ""
            yield self._newlines(piece[:-1] if ending else piece)
        yield self._newlines(ending)

    def _newlines(self, text: str) -> str:
        carriage_returns = text.count("\r")
        if not carriage_returns:
            return text
        crlf = text.count("\r\n")
        self._crlf, self._lone = self._crlf + crlf, self._lone + carriage_returns - crlf
        return text.replace("\r\n", "\n").replace("\r", "\n")


class _Marks:
    """Finds the first line of Project Gutenberg's in a text that is passed through in pieces."""

    def __init__(self) -> None:
        self.first: str | None = None
        self._line = ""

    def seen(self, piece: str) -> str:
        """Returns the piece unchanged after searching it."""
        if self.first is None:
            self.first = remaining_mark(self._line + piece)
            self._line = (self._line + piece[-_LONGEST_MARK:])[-_LONGEST_MARK:].rpartition("\n")[2]
        return piece


def _shown(text: str) -> str:
    """The beginning of a text, for a message."""
    words = " ".join(text.split())
    return repr(words if len(words) <= _SHOWN else words[:_SHOWN] + "...")


def utf8_length(text: str) -> int:
    """Returns the length in bytes of a text in UTF-8; the text must have no lone surrogates."""
    return len(text) if text.isascii() else len(text.encode())
