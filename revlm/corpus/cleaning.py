"""What every text goes through, whatever it was read from: line ends, byte order mark, Project Gutenberg's matter.

Nothing else is touched: Unicode stays as it is. All that is taken away is counted.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

from revlm.corpus.gutenberg import strip_gutenberg

BYTE_ORDER_MARK = "\ufeff"


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


class Cleaned(NamedTuple):
    """A text as it is kept, the title that Project Gutenberg's header names, and what was done to it."""

    text: str
    title: str | None
    cleaning: Cleaning


def clean(raw: str) -> Cleaned:
    """Returns a text that holds no lone surrogates as it is kept."""
    marks = int(raw.startswith(BYTE_ORDER_MARK))
    text = raw[marks:]
    carriage_returns, crlf = text.count("\r"), text.count("\r\n")
    if carriage_returns:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    stripped = strip_gutenberg(text)
    cleaning = Cleaning(
        file_bytes=len(raw.encode()),
        byte_order_marks=marks,
        crlf_line_ends=crlf,
        lone_carriage_returns=carriage_returns - crlf,
        gutenberg_front_bytes=len(stripped.front.encode()),
        gutenberg_back_bytes=len(stripped.back.encode()),
    )
    return Cleaned(stripped.text, stripped.title, cleaning)
