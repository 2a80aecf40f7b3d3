"""The rows of a Parquet file, local or over the network, read page by page."""

from collections.abc import Iterator
from itertools import chain
from typing import IO, Any

from revlm.corpus.reading.readers.parquet.footer import ParquetError, read_footer
from revlm.corpus.reading.readers.parquet.pages import CheckedPages
from revlm.corpus.reading.readers.raw import Reading, Unusable, shown
from revlm.corpus.reading.readers.rows import NAME_THE_COLUMN, TITLE_COLUMN
from revlm.limits import Limits

# Rows decoded at once; each may be a whole book.
_ROWS, _SMALL_GROUP_BYTES = 8, 64 << 20
# Read at once of a column, whose row group may exceed memory; `pre_buffer` would fetch it whole.
_READ_BYTES = 1 << 20

Row = dict[str, Any]  # a column's name to an Arrow scalar


class ParquetFile:
    """An open Parquet file, whose footer and pages are checked against the limits.

    Raises:
        ParquetError: there is no footer that can be read.
    """

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        from pyarrow import parquet

        self._footer, self._pages = read_footer(file), CheckedPages(file, limits)
        self._file = parquet.ParquetFile(
            self._pages,
            metadata=self._footer.metadata,
            buffer_size=_READ_BYTES,
            pre_buffer=False,
            arrow_extensions_enabled=False,
        )
        self.schema = self._file.schema_arrow

    @property
    def group_rows(self) -> list[int]:
        """How many rows each group of rows has."""
        return [group.rows for group in self._footer.groups]

    def rows(self, columns: list[str], first_group: int = 0) -> Iterator[Row]:
        """Yields the rows of the groups from `first_group` on.

        Raises:
            ParquetError: a page is beyond the limits.
        """
        within = tuple(f"{column}." for column in columns)
        read = [n for n, path in enumerate(self._footer.columns) if path in columns or path.startswith(within)]
        groups = [[group.chunks[column] for column in read] for group in self._footer.groups]
        self._pages.watch(chain.from_iterable(groups[first_group:]))
        for group in range(first_group, len(groups)):
            # Where all of a group is small, so are some rows of it, even if all are the same entry of a dictionary.
            largest = max((chunk.expanded for chunk in groups[group]), default=0)
            n_rows = _ROWS if largest <= _SMALL_GROUP_BYTES else 1
            # Without threads: an error of the file, which Python raises, would come up in one of pyarrow's.
            batches = self._file.iter_batches(n_rows, row_groups=[group], columns=columns, use_threads=False)
            for batch in batches:
                names = batch.schema.names
                for index in range(batch.num_rows):
                    yield {name: batch.column(number)[index] for number, name in enumerate(names)}


def columns_to_read(schema: Any, text_column: str) -> list[str] | None:
    """Returns the columns to read from an Arrow schema; None where it lacks the text column.

    Raises:
        ParquetError: the text column holds lists, structs or values of a fixed size: no text has such a type, and a few
            bytes of the file can make it take any amount of memory.
    """
    kind = _kind_of_column(schema, text_column)
    if kind is None:
        return None
    if not _is_flat(kind):
        raise ParquetError(f"has values of type {shown(kind)} in {shown(text_column)}, not texts", NAME_THE_COLUMN)
    title = _kind_of_column(schema, TITLE_COLUMN)
    has_title = title is not None and _is_flat(title) and text_column != TITLE_COLUMN
    return [text_column, *([TITLE_COLUMN] if has_title else ())]


def _kind_of_column(fields: Any, column: str) -> Any | None:
    """Returns the type of a column in a schema or struct, by its own name or by a dotted path, or None."""
    first, _, rest = column.partition(".")
    kinds = {field.name: field.type for field in fields}
    if column in kinds or not rest:
        return kinds.get(column)
    return _kind_of_column(kinds[first], rest) if _is_struct(kinds.get(first)) else None


def _is_flat(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return not (types.is_nested(kind) or types.is_fixed_size_binary(kind))


def names_in(schema: Any) -> Iterator[str]:
    """Yields the names of the columns of a schema; for struct columns, the dotted paths of their fields."""
    for field in schema:
        if _is_struct(field.type):
            yield from (f"{field.name}.{field.type.field(index).name}" for index in range(field.type.num_fields))
        else:
            yield field.name


def values_of(row: Row, place: str, reading: Reading) -> dict[str, Any] | Unusable:
    """Returns the values of a row, bytes where a string is not UTF-8; `Unusable` where one is too long."""
    limit = reading.limits.max_line_bytes
    for name, value in row.items():
        if _size_of(value) > limit:
            return Unusable(place, f"has more than {limit:,} bytes in {shown(name)}", "pass a higher --max-line-bytes")
    return {name: _value_of(value) for name, value in row.items()}


def _value_of(value: Any) -> Any:
    """Returns a scalar as a Python value; nested types other than structs become an empty list."""
    from pyarrow import types

    if not value.is_valid:
        return None
    if _is_struct(value.type):
        return {name: _value_of(inner) for name, inner in value.items()}
    if types.is_dictionary(value.type):
        return _value_of(value.value)
    if types.is_nested(value.type):
        return []
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return error.object


def _size_of(value: Any) -> int:
    """Returns the size in bytes of a string or binary; of a struct, the sum over its fields."""
    from pyarrow import types

    if not value.is_valid:
        return 0
    if _is_struct(value.type):
        return sum(_size_of(inner) for inner in value.values())
    if types.is_dictionary(value.type):
        return _size_of(value.value)
    return value.as_buffer().size if hasattr(value, "as_buffer") else 0


def _is_struct(kind: Any) -> bool:
    from pyarrow import types

    return kind is not None and types.is_struct(kind)
