"""Reads a file that is one text, in UTF-8."""

from collections.abc import Iterator
from pathlib import Path

from revlm.corpus.readers.raw import RawText, UnusableFileError

_C1_CONTROLS = frozenset(range(0x80, 0xA0))


def read_text(path: Path, text_column: str) -> Iterator[RawText]:
    """Yields the one text of a file."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8: byte 0x{raw[error.start]:02x} at byte offset {error.start} ({error.reason})"
        looks, name = _looks_like(raw)
        remedy = f"convert it, as with `iconv -f {name} -t utf-8`" if name else "convert it to UTF-8"
        raise UnusableFileError(path, reason + looks, remedy) from error
    yield RawText(text, len(raw))


def _looks_like(raw: bytes) -> tuple[str, str | None]:
    """Says what the bytes may be where they are no UTF-8; a guess, so only ever a hint."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ", it looks like UTF-16", "utf-16"
    if b"\0" in raw:
        return ", it looks like no text at all", None
    if _C1_CONTROLS.isdisjoint(raw):
        return ", it looks like Latin-1", "latin1"
    return ", it looks like Windows-1252", "cp1252"
