"""Limits on reading untrusted files: the defaults of the options of `revlm tokenize` and of `data.stream`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much one file of a corpus may take before it is rejected.

    Attributes:
        max_expanded_bytes: expanded bytes of one compressed file or e-book.
        max_ratio: expanded bytes per compressed byte, beyond the first 16 MiB.
        max_members: files in an e-book.
        max_nesting: nesting depth of markup elements or JSON values.
        max_line_bytes: bytes of one JSON line, one value of a row, one chapter of an e-book or one HTML file: the unit
            that is read into memory at once, which takes about ten times as much.
    """

    max_expanded_bytes: int = 64 << 30
    max_ratio: int = 200
    max_members: int = 20_000
    max_nesting: int = 1_000
    max_line_bytes: int = 64 << 20


DEFAULT_LIMITS = Limits()
