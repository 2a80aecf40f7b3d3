"""Reads the footer of a Parquet file: its schema, and where the columns of each group of rows lie.

pyarrow crashes on some footers whose parts contradict each other, and allocates memory by the numbers in them. It
therefore gets a new footer that holds only what names and locates the rows: no statistics, indexes, encryption or
metadata of a file reach it.

Source: the Parquet format (Apache), "FileMetaData" in parquet.thrift.
"""

import io
from typing import IO, Any, NamedTuple

from revlm.corpus.reading.readers.parquet.thrift import (
    BINARY,
    I32,
    I64,
    ListOf,
    Struct,
    Values,
    read_struct,
    written_struct,
)

_MAGIC, _MAGIC_ENCRYPTED = b"PAR1", b"PARE"
_TAIL_BYTES = 8  # the length of the footer, and the magic number
_FIRST_READ_BYTES = 64 << 10
_MAX_FOOTER_BYTES = 16 << 20
_MAX_NESTED = 64

# The logical types without parameters: text, and what holds it. The older converted types declare the others.
_LOGICAL_TYPE = Struct({1: Struct({}), 2: Struct({}), 3: Struct({}), 4: Struct({}), 12: Struct({}), 13: Struct({})})
_TYPE, _NAME, _CHILDREN, _LOGICAL = 1, 4, 5, 10
_SCHEMA_ELEMENT = Struct(
    {_TYPE: I32, 2: I32, 3: I32, _NAME: BINARY, _CHILDREN: I32, 6: I32, 7: I32, 8: I32, _LOGICAL: _LOGICAL_TYPE}
)
_EXPANDED, _COMPRESSED, _FIRST_PAGE, _DICTIONARY_PAGE = 6, 7, 9, 11
_COLUMN_METADATA = Struct(
    {
        1: I32, 2: ListOf(I32), 3: ListOf(BINARY), 4: I32, 5: I64,
        _EXPANDED: I64, _COMPRESSED: I64, _FIRST_PAGE: I64, _DICTIONARY_PAGE: I64,
    }
)  # fmt: skip
_FILE, _METADATA = 1, 3
_COLUMN_CHUNK = Struct({_FILE: BINARY, 2: I64, _METADATA: _COLUMN_METADATA})
_COLUMNS, _ROWS = 1, 3
_ROW_GROUP = Struct({_COLUMNS: ListOf(_COLUMN_CHUNK), 2: I64, _ROWS: I64})
_SCHEMA, _ROW_GROUPS = 2, 4
_FILE_METADATA = Struct({1: I32, _SCHEMA: ListOf(_SCHEMA_ELEMENT), 3: I64, _ROW_GROUPS: ListOf(_ROW_GROUP), 6: BINARY})


class ParquetError(Exception):
    """A Parquet file, or a page of one, cannot be read: it is damaged, unless there is a `remedy`."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.remedy = remedy


class Chunk(NamedTuple):
    """The pages of one column in one group of rows: their bytes in the file, and their declared expanded size."""

    start: int
    end: int
    expanded: int


class RowGroup(NamedTuple):
    rows: int
    chunks: list[Chunk]  # of each column


class Footer(NamedTuple):
    """What a footer states about the rows; `columns` are the dotted paths of those that hold values."""

    metadata: Any  # pyarrow's, of what was read here
    columns: list[str]
    groups: list[RowGroup]


def read_footer(file: IO[bytes]) -> Footer:
    """Returns the footer at the end of a file.

    Raises:
        ParquetError: it is damaged, encrypted, too large, or there is none.
        OSError, pyarrow.ArrowException: it cannot be read, or pyarrow cannot make a schema of it.
    """
    size = file.seek(0, io.SEEK_END)
    content = _footer_bytes(file, size)
    try:
        values, _ = read_struct(content, 0, _FILE_METADATA)
        columns = _columns(values[_SCHEMA])
        groups = [_row_group(each, len(columns), size) for each in values[_ROW_GROUPS]]
    except (IndexError, KeyError) as error:
        raise _damaged("its footer lacks a part") from error
    except ValueError as error:
        raise _damaged(f"its footer has {error}") from error
    return Footer(_of_pyarrow(values), columns, groups)


def _footer_bytes(file: IO[bytes], size: int) -> bytes:
    file.seek(max(0, size - _FIRST_READ_BYTES))
    end = file.read(_FIRST_READ_BYTES)
    length, magic = int.from_bytes(end[-_TAIL_BYTES:-4], "little"), end[-4:]
    if magic == _MAGIC_ENCRYPTED:
        raise ParquetError("is encrypted", "decrypt it first")
    if magic != _MAGIC or length + _TAIL_BYTES > size:
        raise _damaged("it has no footer")
    if length > _MAX_FOOTER_BYTES:
        raise ParquetError(f"has a footer of more than {_MAX_FOOTER_BYTES:,} bytes", "write it with fewer row groups")
    if length + _TAIL_BYTES > len(end):
        file.seek(size - _TAIL_BYTES - length)
        end = file.read(length + _TAIL_BYTES)
    return end[-_TAIL_BYTES - length : -_TAIL_BYTES]


def _columns(schema: list[Values]) -> list[str]:
    """Returns the paths of the columns that hold values, of a tree whose nodes stand before their children."""
    columns: list[str] = []
    above: list[tuple[str, int]] = [("", 1)]  # a node's path, and how many of its children are still to come
    for index, element in enumerate(schema):
        while above and not above[-1][1]:
            above.pop()
        if not above or len(above) > _MAX_NESTED:
            raise ValueError("a schema that is no tree" if not above else "a schema that is nested too deep")
        path, left = above[-1]
        above[-1] = path, left - 1
        name = element[_NAME].decode("utf-8", "replace")
        path = "" if index == 0 else f"{path}.{name}" if path else name
        children = element.get(_CHILDREN, 0)
        if children < 0 or (index > 0 and (children > 0) == (_TYPE in element)):
            raise ValueError("a schema that is no tree")
        if children == 0 and index > 0:
            columns.append(path)
        above.append((path, children))
        if not element.get(_LOGICAL):
            element.pop(_LOGICAL, None)
    if any(left for _, left in above):
        raise ValueError("a schema that is no tree")
    return columns


def _row_group(values: Values, n_columns: int, file_bytes: int) -> RowGroup:
    chunks = []
    for column in values[_COLUMNS]:
        if column.get(_FILE):
            raise ParquetError("holds no rows itself: it names other files for them", "read those")
        if _METADATA not in column:
            raise ParquetError("has an encrypted column", "decrypt it first")
        metadata = column[_METADATA]
        start = min(metadata[_FIRST_PAGE], metadata.get(_DICTIONARY_PAGE) or metadata[_FIRST_PAGE])
        chunk = Chunk(start, start + metadata[_COMPRESSED], metadata[_EXPANDED])
        if not 0 <= chunk.start <= chunk.end <= file_bytes or chunk.expanded < 0:
            raise ValueError("a column that does not lie within the file")
        chunks.append(chunk)
    if len(chunks) != n_columns or values[_ROWS] < 0:
        raise ValueError("a row group that does not have the columns of its schema, or a number of rows below 0")
    return RowGroup(values[_ROWS], chunks)


def _of_pyarrow(values: Values) -> Any:
    from pyarrow import parquet

    content = written_struct(values, _FILE_METADATA)
    return parquet.read_metadata(io.BytesIO(_MAGIC + content + len(content).to_bytes(4, "little") + _MAGIC))


def _damaged(why: str) -> ParquetError:
    return ParquetError(f"is damaged or not a Parquet file: {why}")
