"""Holds the pages of a Parquet file against the limits: as they are read, before they are expanded.

A page says in its header how large it expands, and a reader takes as much memory before a byte of it is known.

Source: the Parquet format (Apache), "PageHeader" in parquet.thrift; Thrift's compact protocol.
"""

import io
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import IO, NamedTuple

from revlm.limits import DEFAULT_LIMITS, Limits

# As much may come out of any page, and be said in a header of one.
_FREE_BYTES = 16 << 20
_MOST_HEADER_BYTES = 16 << 20
# Of a page: for some encodings memory is taken by their number alone.
_MOST_VALUES = 1 << 24
# Of the longest kind in one page: some writers put a thousand rows there, whatever their size.
_BOOKS_OF_PAGE = 8
_DEEPEST = 8
# Behind the pages of a column, where readers allow for writers that said too little.
_SLACK_BYTES = 100
_DICTIONARY = 2
_UNCOMPRESSED, _COMPRESSED, _VALUES_WITHIN = 2, 3, (5, 7, 8)


class PageError(Exception):
    """A page that is not read."""

    def __init__(self, reason: str, remedy: str = "fetch it again") -> None:
        super().__init__(reason)
        self.remedy = remedy


class Chunk(NamedTuple):
    """The pages of one column in one group of rows: bytes of the file, and what they say to expand to."""

    start: int
    end: int
    expanded: int


class CheckedPages(io.RawIOBase):
    """A file whose reads are looked through for headers of pages, once it is told where `pages_of` columns are."""

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self._file, self._limits = file, limits
        self._starts: list[int] = []
        self._pages: list[_Pages] = []

    def watch(self, chunks: Iterable[Chunk]) -> None:
        """Holds the pages of these chunks against the limits from now on.

        Raises:
            PageError: a chunk lies within another.
        """
        chunks = sorted(chunks)
        for before, chunk in pairwise(chunks):
            if chunk.start < before.end:
                raise PageError("is damaged: columns of it lie within each other")
        self._starts = [chunk.start for chunk in chunks]
        self._pages = [_Pages(chunk, self._limits) for chunk in chunks]

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next bytes.

        Raises:
            PageError: a page that begins there is beyond the limits.
        """
        position = self._file.tell()
        content = self._file.read(-1 if size is None else size)
        index = bisect_right(self._starts, position) - 1
        if index >= 0:
            self._pages[index].feed(position, content)
        return content

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Pages:
    """The pages of a chunk, as far as they were read."""

    def __init__(self, chunk: Chunk, limits: Limits) -> None:
        self._chunk, self._limits = chunk, limits
        self._seen = self._next = chunk.start  # up to where the bytes, and the pages, are known
        self._begun = b""  # of a header

    def feed(self, position: int, content: bytes) -> None:
        if position >= self._chunk.end + _SLACK_BYTES or position + len(content) <= self._seen:
            return
        if position > self._seen:
            raise PageError("is damaged: a page of it lies behind a gap")
        content = self._begun + content[self._seen - position :]
        base = self._seen - len(self._begun)
        self._seen, self._begun = base + len(content), b""
        while self._next < min(self._seen, self._chunk.end + _SLACK_BYTES):
            at = self._next - base
            try:
                header = _Header(content, at)
            except IndexError:
                self._begun = content[at:]
                if len(self._begun) > _MOST_HEADER_BYTES:
                    raise PageError("is damaged: a page of it has a header without end") from None
                return
            except ValueError as error:
                if self._next >= self._chunk.end:
                    return  # no page
                raise PageError(f"is damaged: a page of it has {error}") from error
            self._require_bounded(header)
            self._next += header.length + header.compressed

    def _require_bounded(self, header: "_Header") -> None:
        limits = self._limits
        if header.expanded > max(_FREE_BYTES, limits.max_ratio * header.compressed):
            reason = f"has a page that expands to more than {limits.max_ratio} times its size"
            raise PageError(reason, "pass a higher --max-ratio if you trust it")
        most = _BOOKS_OF_PAGE * max(limits.max_line_bytes, DEFAULT_LIMITS.max_line_bytes)
        if header.expanded > most:
            reason = f"has a page of more than {most:,} bytes"
            raise PageError(reason, "pass a higher --max-line-bytes if you trust it")
        if header.values > _MOST_VALUES:
            raise PageError(f"has a page of more than {_MOST_VALUES:,} values")
        if header.kind == _DICTIONARY and header.expanded > self._chunk.expanded:
            raise PageError("is damaged: a page of it is larger than its column says to be")


class _Header:
    """The header of a page at a place in bytes: IndexError where they end before it, ValueError where it is none."""

    def __init__(self, content: bytes, start: int) -> None:
        self._content, self._at = content, start
        self._numbers: dict[tuple[int, ...], int] = {}
        self._struct(())
        self.length = self._at - start
        try:
            self.kind = self._numbers[(1,)]
            self.expanded, self.compressed = self._numbers[(_UNCOMPRESSED,)], self._numbers[(_COMPRESSED,)]
        except KeyError as error:
            raise ValueError("no size in its header") from error
        self.values = max((self._numbers.get((each, 1), 0) for each in _VALUES_WITHIN), default=0)
        if min(self.expanded, self.compressed, self.values) < 0:
            raise ValueError("a size below 0 in its header")

    def _struct(self, path: tuple[int, ...]) -> None:
        if len(path) > _DEEPEST:
            raise ValueError("a header that is too deep")
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            self._value(head & 15, (*path, field))

    def _value(self, kind: int, path: tuple[int, ...]) -> None:
        if kind in (1, 2):  # true and false, without a value behind them
            return
        if kind == 3:
            self._byte()
        elif kind in (4, 5, 6):
            self._numbers[path] = self._integer()
        elif kind == 7:
            self._skip(8)
        elif kind == 8:
            self._skip(self._varint())
        elif kind == 12:
            self._struct(path)
        else:  # lists, sets and maps, which no header of a page has
            raise ValueError("a value in its header that no page has")

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._content):
            raise IndexError

    def _varint(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ValueError("a number in its header that is too long")

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
