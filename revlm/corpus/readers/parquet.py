"""Reads Parquet files, a text a row."""

from collections.abc import Iterator
from pathlib import Path

from revlm.corpus.readers.jsonl import text_of_row
from revlm.corpus.readers.raw import RawText, Unusable, UnusableFileError, why

# Rows decoded at one time: whole books, each.
_ROWS = 8
# Read at one time of a column: the group of rows that it belongs to may be larger than memory.
_READ_BYTES = 1 << 20


def read_parquet(path: Path, text_column: str) -> Iterator[RawText | Unusable]:
    """Yields the text of each row; the title is its column `title`, where there is one of strings."""
    import pyarrow
    from pyarrow import parquet

    size, before, row = path.stat().st_size, 0, 0
    try:
        file = parquet.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False)
        names = file.schema_arrow.names
        if text_column not in names:
            there = ", ".join(map(repr, names[:8]))
            reason = f"has no column {text_column!r} (it has {there})"
            raise UnusableFileError(path, reason, "name the text's with --text-column")
        columns = [name for name in dict.fromkeys((text_column, "title")) if name in names]
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            for values in batch.to_pylist():
                row += 1
                position = size * row // file.metadata.num_rows
                yield text_of_row(values, f"row {row}", text_column, read_bytes=position - before)
                before = position
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = f"is damaged or no Parquet file, after row {row} ({why(error)})"
        raise UnusableFileError(path, reason, "fetch it again") from error
