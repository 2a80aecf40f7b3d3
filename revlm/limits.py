"""How much of what comes from outside is read: the defaults of the options of `revlm tokenize` and of `data.stream`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one file of a corpus may take before it is refused.

    Attributes:
        max_expanded_bytes: bytes that one compressed file or e-book expands to.
        max_ratio: how many times its size that may be, beyond the first 16 MiB.
        max_members: files inside an e-book.
        max_nesting: how deeply elements of markup, or JSON values, contain each other.
        max_line_bytes: bytes of one line of JSON, one value of a row, one chapter of an e-book or one HTML file: the
            unit that is held in memory whole, which takes about ten times as much.
    """

    max_expanded_bytes: int = 64 << 30
    max_ratio: int = 200
    max_members: int = 20_000
    max_nesting: int = 1_000
    max_line_bytes: int = 64 << 20


DEFAULT_LIMITS = Limits()
