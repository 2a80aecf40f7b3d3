"""Reads FASTA, compressed or not: one text per record, its letters without line breaks; the description is its title.

Nothing of a record is held whole, so a chromosome may be one line. Source of the format: Pearson and Lipman, "Improved
tools for biological sequence comparison", 1988, as sequence databases publish it today.
"""

import codecs
import re
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from revlm.corpus.reading.readers.charsets import mark_of
from revlm.corpus.reading.readers.opened import Bytes, opened_bytes
from revlm.corpus.reading.readers.raw import RawText, Reading, UnusableFileError, title_of
from revlm.corpus.reading.readers.text import PIECE_BYTES, not_utf8
from revlm.limits import Limits

_SPACE = b" \t\r\n\v\f"
# Nucleotides and amino acids in upper or lower case (soft-masked), the end of a translation, and gaps.
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ*-.~?"
_NO_LETTER = re.compile(rb"[^%s]" % re.escape(_LETTERS + _SPACE))
_NEXT_RECORD = re.compile(rb"[\r\n]>")
_LINE_END = re.compile(rb"[\r\n]")
_NOT_SPACE = re.compile(rb"[^%s]" % re.escape(_SPACE))


def read_fasta(path: Path, reading: Reading) -> Iterator[RawText]:
    """Yields the letters of each record as they are, without the white space between them."""
    with opened_bytes(path, reading) as source:
        records, number, before = _Records(path, source, reading.limits), 0, 0
        while (description := records.description()) is not None:
            number += 1
            letters = records.letters()
            yield RawText(letters, partial(records.read_since, before), f"record {number}", title_of(description))
            deque(letters, maxlen=0)
            before += records.read_since(before)


class _Records:
    """A FASTA file read from record to record: call `description`, then exhaust `letters`, and so on."""

    def __init__(self, path: Path, source: Bytes, limits: Limits) -> None:
        self._path, self._source, self._limits = path, source, limits
        self._held, self._at = b"", 0  # the bytes from `_at` on are not used yet
        self._given = 0  # bytes of the source, after decompression, up to the end of `_held`
        self._at_line_start = True

    def read_since(self, position: int) -> int:
        """Returns how many bytes of the file have been read since an earlier position, for progress."""
        source = self._source
        return (source.position if source.is_compressed else self._offset) - position

    def description(self) -> str | None:
        """Returns the description of the next record without its `>`; None at the end of the file.

        Raises:
            UnusableFileError: the file does not begin with one, or it is too long or not UTF-8.
        """
        if not self._given and not self._find_first():
            return None
        if not self._more():
            return None
        self._at += 1
        line, size = [], 0
        while self._more():
            end = _LINE_END.search(self._held, self._at)
            stop = end.start() if end else len(self._held)
            size += stop - self._at
            if size > self._limits.max_line_bytes:
                reason = f"has a description longer than {self._limits.max_line_bytes:,} bytes"
                raise UnusableFileError(self._path, reason, "pass a higher --max-line-bytes")
            line.append(self._held[self._at : stop])
            self._at = stop
            if end:
                break
        raw = b"".join(line)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            offset = self._offset - len(raw) + error.start
            raise not_utf8(self._path, raw, f"byte 0x{raw[error.start]:02x} at byte offset {offset}") from error

    def letters(self) -> Iterator[str]:
        """Yields the letters up to the next record.

        Raises:
            UnusableFileError: there is something other than letters.
        """
        while self._more() and not (self._at_line_start and self._held[self._at] == ord(">")):
            end = _NEXT_RECORD.search(self._held, self._at)
            stop = end.start() + 1 if end else len(self._held)
            raw = self._held[self._at : stop].translate(None, _SPACE)
            if raw.translate(None, _LETTERS):
                raise self._not_a_letter(stop)
            self._at_line_start = self._held[stop - 1] in b"\r\n"
            self._at = stop
            if raw:
                yield raw.decode("ascii")

    @property
    def _offset(self) -> int:
        """The offset of the next byte after decompression."""
        return self._given - len(self._held) + self._at

    def _more(self) -> bool:
        """Whether there are unused bytes; reads the next ones if all are used."""
        if self._at == len(self._held):
            self._held, self._at = self._source.read(PIECE_BYTES), 0
            self._given += len(self._held)
        return bool(self._held)

    def _find_first(self) -> bool:
        """Moves to the first record; returns false where the file is empty or only white space."""
        if self._more() and mark_of(self._held):
            raise not_utf8(self._path, self._held, f"byte 0x{self._held[0]:02x} at byte offset 0")
        self._at = len(codecs.BOM_UTF8) if self._held.startswith(codecs.BOM_UTF8) else 0
        while self._more():
            found = _NOT_SPACE.search(self._held, self._at)
            self._at = found.start() if found else len(self._held)
            if found and found[0] == b">":
                return True
            if found:
                reason = f"is not FASTA: no line that begins with > comes before byte offset {self._offset}"
                raise UnusableFileError(self._path, reason, "add the description of its first sequence there")
        return False

    def _not_a_letter(self, stop: int) -> UnusableFileError:
        found = _NO_LETTER.search(self._held, self._at, stop)
        assert found is not None
        offset = self._given - len(self._held) + found.start()
        reason = f"is not FASTA: byte 0x{found[0][0]:02x} at byte offset {offset} is not a letter of a sequence"
        return UnusableFileError(self._path, reason, "remove comments and numbers, and begin descriptions with >")
