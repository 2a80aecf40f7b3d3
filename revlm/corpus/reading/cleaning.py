"""What every text goes through, whatever it was read from: line ends, byte order mark, Project Gutenberg's matter.

Nothing else is touched: Unicode stays as it is. All that is taken away is counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from revlm.corpus.reading.gutenberg import (
    HEAD_CHARACTERS,
    TAIL_CHARACTERS,
    back_matter,
    front_matter,
    prose_in_header,
    remaining_mark,
    title_in,
)

BYTE_ORDER_MARK = "\ufeff"
_LONGEST_MARK = 200  # characters of a line that a warning about what is left is found by
_SHOWN = 60


@dataclass(frozen=True)
class Cleaning:
    """What was removed or normalised on the way from a file to a text; counts add up over documents.

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
    """The pieces of a text as it is kept, made while they are iterated over; holds only its beginning and end.

    Attributes:
        title: what Project Gutenberg's header names; known from the start.
        front, back: what was taken away at both ends, line ends normalised; `back` is known at the end.
        cleaning: what was done to the text; whole at the end.
        warnings: where the cuts may not be what the reader expects, a sentence each; whole at the end.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self._crlf = self._lone = self._marks = self._raw_bytes = 0
        self._pieces = self._normalised(iter(pieces))
        self._beginning = self._take(HEAD_CHARACTERS + TAIL_CHARACTERS)
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

    def _take(self, characters: int) -> str:
        """Returns the first pieces together: at least so many characters, or all there are."""
        taken: list[str] = []
        while characters > 0 and (piece := next(self._pieces, None)) is not None:
            taken.append(piece)
            characters -= len(piece)
        return "".join(taken)

    def _normalised(self, pieces: Iterator[str]) -> Iterator[str]:
        """Yields the pieces without a byte order mark, line ends as newlines; both are counted."""
        ending, is_first = "", True  # a carriage return at the end waits for what follows
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
    """The first line of Project Gutenberg's in a text that passes by in pieces."""

    def __init__(self) -> None:
        self.first: str | None = None
        self._line = ""

    def seen(self, piece: str) -> str:
        """Returns the piece, looked through."""
        if self.first is None:
            self.first = remaining_mark(self._line + piece)
            self._line = (self._line + piece[-_LONGEST_MARK:])[-_LONGEST_MARK:].rpartition("\n")[2]
        return piece


def _shown(text: str) -> str:
    """The beginning of a text, for a message."""
    words = " ".join(text.split())
    return repr(words if len(words) <= _SHOWN else words[:_SHOWN] + "...")


def utf8_length(text: str) -> int:
    """Returns the bytes that a text without lone surrogates has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
