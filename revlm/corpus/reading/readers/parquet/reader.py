"""Reads Parquet files, one text per row."""

from collections.abc import Iterator
from pathlib import Path

from revlm.corpus.reading.readers.opened import opened
from revlm.corpus.reading.readers.parquet.footer import ParquetError
from revlm.corpus.reading.readers.parquet.rows import ParquetFile, columns_to_read, names_in, values_of
from revlm.corpus.reading.readers.raw import RawText, Reading, Unusable, UnusableFileError, why
from revlm.corpus.reading.readers.rows import NAME_THE_COLUMN, no_column, text_of_row


def read_parquet(path: Path, reading: Reading) -> Iterator[RawText | Unusable]:
    """Yields the text of each row, from a column of strings or UTF-8 bytes; its title is the column `title`."""
    import pyarrow

    size, before, number = path.stat().st_size, 0, 0
    with opened(path) as file:
        try:
            table = ParquetFile(file, reading.limits)
            columns = columns_to_read(table.schema, reading.text_column)
            if columns is None:
                reason = no_column(reading.text_column, names_in(table.schema))
                raise UnusableFileError(path, reason, NAME_THE_COLUMN)
            count = sum(table.group_rows)
            for number, row in enumerate(table.rows(columns), 1):
                reading.raise_if_stopped()
                position = size * min(number, count) // count if count > 0 else size
                place, read_bytes, before = f"row {number}", max(0, position - before), max(before, position)
                values = values_of(row, place, reading)
                if isinstance(values, Unusable):
                    yield values._replace(read_bytes=read_bytes)
                else:
                    yield text_of_row(values, place, reading, read_bytes)
        except ParquetError as error:
            reason = f"{error}, after row {number}" if number else str(error)
            raise UnusableFileError(path, reason, error.remedy or "fetch it again") from error
        except (OSError, pyarrow.ArrowException) as error:
            reason = f"is damaged or not a Parquet file, after row {number} ({why(error)})"
            raise UnusableFileError(path, reason, "fetch it again") from error
