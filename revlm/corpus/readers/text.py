"""Reads a file that is one text, in UTF-8, of any size."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from revlm.corpus.cleaning import utf8_length
from revlm.corpus.readers.raw import NUL, RawText, UnusableFileError

PIECE_BYTES = 1 << 20
_C1_CONTROLS = frozenset(range(0x80, 0xA0))


def read_text(path: Path, text_column: str) -> Iterator[RawText]:
    """Yields the one text of a file."""
    yield RawText(_pieces(path), path.stat().st_size)


def _pieces(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # in bytes, of what the decoder has not given yet
    with path.open("rb") as file:
        while True:
            raw = file.read(PIECE_BYTES)
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, raw or error.object, error, offset + error.start) from error
            if NUL in text:
                place = offset + len(text[: text.index(NUL)].encode())
                raise UnusableFileError(path, f"holds a NUL at byte offset {place}", "remove it if this is a text")
            if not raw:
                return
            yield text
            offset += utf8_length(text)


def _not_utf8(path: Path, raw: bytes, error: UnicodeDecodeError, place: int) -> UnusableFileError:
    reason = f"is not UTF-8: byte 0x{error.object[error.start]:02x} at byte offset {place} ({error.reason})"
    looks, name = _looks_like(raw)
    return UnusableFileError(
        path, reason + looks, f"convert it, as with `iconv -f {name} -t utf-8`" if name else "convert it to UTF-8"
    )


def _looks_like(raw: bytes) -> tuple[str, str | None]:
    """Says what the bytes may be where they are no UTF-8; a guess, so only ever a hint."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ", it looks like UTF-16", "utf-16"
    if b"\0" in raw:
        return ", it looks like no text at all", None
    if _C1_CONTROLS.isdisjoint(raw):
        return ", it looks like Latin-1", "latin1"
    return ", it looks like Windows-1252", "cp1252"
