"""Reads files of separated values (RFC 4180), one row at a time, within the limits."""

import csv
from collections.abc import Iterator
from pathlib import PurePath

from revlm.corpus.reading.readers.opened import Bytes
from revlm.corpus.reading.readers.raw import Reading, Unusable, UnusableFileError
from revlm.corpus.reading.readers.text import text_pieces

# A row with more values than this takes more memory than its limit in bytes suggests.
_MAX_VALUES = 1 << 20


def rows_of_csv(path: PurePath, source: Bytes, separator: str, reading: Reading) -> Iterator[dict[str, str] | Unusable]:
    """Yields the values of each row by the names in the first row; `Unusable` for a row of another length.

    Raises:
        UnusableFileError: the file is not UTF-8, has an unclosed quotation, or exceeds the limits.
    """
    limit = reading.limits.max_line_bytes
    csv.field_size_limit(limit)
    lines = _Lines(path, source, separator, limit)
    rows = csv.reader(lines.read(), delimiter=separator, strict=True)
    names: list[str] | None = None
    try:
        for row in rows:
            lines.end_row()
            if names is None:
                names = row
            elif len(row) == len(names):
                yield dict(zip(names, row, strict=True))
            elif row:  # an empty line is no row
                yield Unusable("", f"has {len(row):,} values for {len(names):,} columns", "repair the row")
    except csv.Error as error:
        raise UnusableFileError(path, f"is damaged at line {rows.line_num:,} ({error})", "repair the line") from error


class _Lines:
    """The lines of a file, of which a row may take several."""

    def __init__(self, path: PurePath, source: Bytes, separator: str, limit: int) -> None:
        self._path, self._source, self._separator, self._limit = path, source, separator, limit
        self._characters = self._values = 0  # of the current row

    def end_row(self) -> None:
        """Marks that the next line begins a row."""
        self._characters = self._values = 0

    def read(self) -> Iterator[str]:
        """Yields each line with its end.

        Raises:
            UnusableFileError: the lines since `end_row` exceed the limits.
        """
        parts: list[str] = []
        for number, piece in enumerate(text_pieces(self._path, self._source)):
            start = 1 if number == 0 and piece.startswith("\ufeff") else 0
            while (end := piece.find("\n", start) + 1) > 0:
                yield "".join([*parts, self._counted(piece[start:end])])
                parts.clear()
                start = end
            parts.append(self._counted(piece[start:]))
        if any(parts):
            yield "".join(parts)

    def _counted(self, part: str) -> str:
        """Returns a part of a row, which now counts."""
        self._characters += len(part)
        self._values += part.count(self._separator)
        if self._characters > self._limit:
            reason = f"has a row longer than {self._limit:,} bytes"
            raise UnusableFileError(self._path, reason, "pass a higher --max-line-bytes")
        if self._values > _MAX_VALUES:
            reason = f"has a row of more than {_MAX_VALUES:,} values"
            raise UnusableFileError(self._path, reason, "remove the columns that are not text")
        return part
