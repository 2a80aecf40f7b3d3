"""Checks the pages of a Parquet file against the limits, as they are read and before they are expanded.

A page's header declares its expanded size, and a reader allocates that much before it expands a byte.

Source: the Parquet format (Apache), "PageHeader" in parquet.thrift.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import IO

from revlm.corpus.reading.readers.forwarding import ForwardingFile
from revlm.corpus.reading.readers.parquet.footer import Chunk, ParquetError
from revlm.corpus.reading.readers.parquet.thrift import I32, Struct, read_struct
from revlm.limits import DEFAULT_LIMITS, Limits

# Any page may expand to this size, and any header may declare it.
_FREE_BYTES = 16 << 20
_MAX_HEADER_BYTES = 16 << 20
# Of a page: some encodings take memory by this number alone.
_MAX_VALUES = 1 << 24
# Of the longest kind in one page: some writers put a thousand rows there, whatever their size.
_BOOKS_OF_PAGE = 8
# After the pages of a column: readers allow for writers that declared too little.
_SLACK_BYTES = 100
_DICTIONARY = 2
_KIND, _UNCOMPRESSED, _COMPRESSED, _VALUES_WITHIN = 1, 2, 3, (5, 7, 8)
_HEADER = Struct({_KIND: I32, _UNCOMPRESSED: I32, _COMPRESSED: I32} | dict.fromkeys(_VALUES_WITHIN, Struct({1: I32})))


class CheckedPages(ForwardingFile):
    """A file that checks the headers of the pages that are read, in the chunks that `watch` names."""

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        super().__init__(file)
        self._limits = limits
        self._starts: list[int] = []
        self._pages: list[_Pages] = []

    def watch(self, chunks: Iterable[Chunk]) -> None:
        """Checks the pages of these chunks from now on.

        Raises:
            ParquetError: two chunks overlap.
        """
        chunks = sorted(chunks)
        for before, chunk in pairwise(chunks):
            if chunk.start < before.end:
                raise ParquetError("is damaged: columns of it lie within each other")
        self._starts = [chunk.start for chunk in chunks]
        self._pages = [_Pages(chunk, self._limits) for chunk in chunks]

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next bytes.

        Raises:
            ParquetError: a page that begins there is beyond the limits.
        """
        position = self._file.tell()
        content = self._file.read(-1 if size is None else size)
        index = bisect_right(self._starts, position) - 1
        if index >= 0:
            self._pages[index].feed(position, content)
        return content


class _Pages:
    """The pages of a chunk, up to where it was read."""

    def __init__(self, chunk: Chunk, limits: Limits) -> None:
        self._chunk, self._limits = chunk, limits
        self._seen = self._next = chunk.start  # up to where the bytes, and the pages, are known
        self._begun = b""  # of a header

    def feed(self, position: int, content: bytes) -> None:
        if position >= self._chunk.end + _SLACK_BYTES or position + len(content) <= self._seen:
            return
        if position > self._seen:
            raise ParquetError("is damaged: a page of it lies behind a gap")
        content = self._begun + content[self._seen - position :]
        base = self._seen - len(self._begun)
        self._seen, self._begun = base + len(content), b""
        while self._next < min(self._seen, self._chunk.end + _SLACK_BYTES):
            at = self._next - base
            try:
                header = _Header(content, at)
            except IndexError:
                self._begun = content[at:]
                if len(self._begun) > _MAX_HEADER_BYTES:
                    raise ParquetError("is damaged: a page of it has a header without end") from None
                return
            except ValueError as error:
                if self._next >= self._chunk.end:
                    return  # no page
                raise ParquetError(f"is damaged: a page of it has {error}") from error
            self._require_bounded(header)
            self._next += header.length + header.compressed

    def _require_bounded(self, header: "_Header") -> None:
        limits = self._limits
        if header.expanded > max(_FREE_BYTES, limits.max_ratio * header.compressed):
            reason = f"has a page that expands to more than {limits.max_ratio} times its size"
            raise ParquetError(reason, "pass a higher --max-ratio if you trust it")
        most = _BOOKS_OF_PAGE * max(limits.max_line_bytes, DEFAULT_LIMITS.max_line_bytes)
        if header.expanded > most:
            reason = f"has a page of more than {most:,} bytes"
            raise ParquetError(reason, "pass a higher --max-line-bytes if you trust it")
        if header.values > _MAX_VALUES:
            raise ParquetError(f"has a page of more than {_MAX_VALUES:,} values")
        if header.kind == _DICTIONARY and header.expanded > self._chunk.expanded:
            raise ParquetError("is damaged: a page of it is larger than its column says to be")


class _Header:
    """The header of a page at `start`; IndexError where the bytes end before it does, ValueError where it is none."""

    def __init__(self, content: bytes, start: int) -> None:
        values, end = read_struct(content, start, _HEADER)
        self.length = end - start
        try:
            self.kind, self.expanded, self.compressed = values[_KIND], values[_UNCOMPRESSED], values[_COMPRESSED]
        except KeyError as error:
            raise ValueError("no size in its header") from error
        self.values = max((values.get(each, {}).get(1, 0) for each in _VALUES_WITHIN), default=0)
        if min(self.expanded, self.compressed, self.values) < 0:
            raise ValueError("a size below 0 in its header")
