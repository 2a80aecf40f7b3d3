"""Reads a file that is one UTF-8 text of any size, compressed or not."""

import codecs
from collections.abc import Iterator
from pathlib import Path, PurePath

from revlm.corpus.reading.cleaning import utf8_length
from revlm.corpus.reading.readers.charsets import guess_of, mark_of
from revlm.corpus.reading.readers.opened import Bytes, opened_bytes
from revlm.corpus.reading.readers.raw import NUL, RawText, Reading, UnusableFileError

PIECE_BYTES = 1 << 20
# Escape sequences by which ISO-2022, whose bytes are all ASCII, switches the character set.
_ISO_2022 = ("\x1b$", "\x1b(B", "\x1b(J")


def read_text(path: Path, reading: Reading) -> Iterator[RawText]:
    """Yields the one text of a file."""
    with opened_bytes(path, reading) as source:
        yield RawText(text_pieces(path, source), path.stat().st_size)


def text_pieces(path: PurePath, source: Bytes) -> Iterator[str]:
    """Yields the text of a file in pieces.

    Raises:
        UnusableFileError: it is not UTF-8, or exceeds the limits.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # in bytes, of the first byte not yet decoded
    while True:
        raw = source.read(PIECE_BYTES)
        if not offset and mark_of(raw):
            raise not_utf8(path, raw, f"byte 0x{raw[0]:02x} at byte offset 0")
        try:
            text = decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            place = f"byte 0x{error.object[error.start]:02x} at byte offset {offset + error.start} ({error.reason})"
            raise not_utf8(path, raw or error.object, place) from error
        if NUL in text:
            place = f"a NUL at byte offset {offset + len(text[: text.index(NUL)].encode())}"
            guess = guess_of(raw)
            known = guess.clause.startswith("perhaps")
            reason, remedy = (f"; {guess.clause}", guess.remedy) if known else ("", "remove it if this is a text")
            raise UnusableFileError(path, f"holds {place}{reason}", remedy)
        if "\x1b" in text and any(each in text for each in _ISO_2022):
            raise not_utf8(path, raw, "escape sequences of ISO-2022")
        if not raw:
            return
        yield text
        offset += utf8_length(text)


def not_utf8(path: PurePath, raw: bytes, place: str) -> UnusableFileError:
    """Returns the error for a file that is not UTF-8 at `place`, with a guess at its encoding."""
    guess = guess_of(raw)
    return UnusableFileError(path, f"is not UTF-8: {place}; {guess.clause}", guess.remedy)
