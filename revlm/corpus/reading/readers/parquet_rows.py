"""The rows of a Parquet file, local or over the network, read page by page."""

from collections.abc import Iterator
from typing import Any

from revlm.corpus.reading.readers.raw import Reading, Unusable, shown
from revlm.corpus.reading.readers.rows import TITLE_COLUMN

# Rows decoded at once; each may be a whole book.
_ROWS = 8
# Read at once of a column, whose row group may exceed memory; `pre_buffer` would fetch it whole.
_READ_BYTES = 1 << 20

Row = dict[str, Any]  # a column's name to an Arrow scalar


def open_parquet(file: Any) -> Any:
    """Returns a `pyarrow.parquet.ParquetFile` for an open file or a path."""
    from pyarrow import parquet

    return parquet.ParquetFile(file, buffer_size=_READ_BYTES, pre_buffer=False)


def columns_to_read(schema: Any, text_column: str) -> list[str] | None:
    """Returns the columns to read from an Arrow schema; None where it lacks the text column."""
    if not _has_column(schema, text_column):
        return None
    return [name for name in dict.fromkeys((text_column, TITLE_COLUMN)) if name == text_column or name in schema.names]


def _has_column(fields: Any, column: str) -> bool:
    """Whether a schema or struct has a column, by its own name or by a dotted path."""
    first, _, rest = column.partition(".")
    inner = next((field.type for field in fields if field.name == first), None)
    return column in (field.name for field in fields) or bool(rest and _is_struct(inner) and _has_column(inner, rest))


def names_in(schema: Any) -> Iterator[str]:
    """Yields the names of the columns of a schema; for struct columns, the dotted paths of their fields."""
    for field in schema:
        if _is_struct(field.type):
            yield from (f"{field.name}.{field.type.field(index).name}" for index in range(field.type.num_fields))
        else:
            yield field.name


def rows_of(file: Any, columns: list[str], groups: range) -> Iterator[Row]:
    """Yields the rows of row groups of a Parquet file."""
    for batch in file.iter_batches(batch_size=_ROWS, row_groups=groups, columns=columns):
        names = batch.schema.names
        for index in range(batch.num_rows):
            yield {name: batch.column(place)[index] for place, name in enumerate(names)}


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
