"""The rows of one file of a dataset, as texts, read within the limits by the readers of local files."""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from revlm.corpus.reading.cleaning import utf8_length
from revlm.corpus.reading.hub.address import HubAddress
from revlm.corpus.reading.hub.csv_rows import rows_of_csv
from revlm.corpus.reading.hub.errors import no_such_column
from revlm.corpus.reading.readers.forwarding import ForwardingFile
from revlm.corpus.reading.readers.jsonl import parsed, texts_of_lines
from revlm.corpus.reading.readers.opened import Bytes, opened
from revlm.corpus.reading.readers.parquet import ParquetFile, Row, columns_to_read, names_in, values_of
from revlm.corpus.reading.readers.raw import RawText, Reading, Unusable, UnusableFileError
from revlm.corpus.reading.readers.rows import text_of_row, value_at
from revlm.corpus.reading.readers.text import text_pieces

# Of one request over the network: lost when the connection drops, and held in memory beside a page.
_REQUEST_BYTES = 16 << 20
_STEP_BYTES = 1 << 20
_LINES = (".jsonl", ".ndjson")


class Rows(ABC):
    """The rows of a file; `name` distinguishes it from the other files of its split (empty where there are none).

    `config` is what `datasets` knows of its format, `file` its path or URL.
    """

    def __init__(self, name: str, file: str, address: HubAddress, config: Any, reading: Reading) -> None:
        self.name, self._file, self._address, self._config, self._reading = name, file, address, config, reading

    def jump(self, rows: int) -> int:
        """Returns how many of the first `rows` rows can be skipped without reading them."""
        return 0

    @abstractmethod
    def texts(self, after: int) -> Iterator[RawText | Unusable]:
        """Yields the text of each row after the first `after`, the number that `jump` returned; without its place.

        Raises:
            UnusableFileError: the file is damaged, or exceeds the limits.
        """

    @property
    def _path(self) -> PurePosixPath:
        """The file's name, for its compression and for messages."""
        return PurePosixPath(self.name or PurePosixPath(self._file).name)

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        if self._address.is_local:
            with opened(Path(self._file)) as local:
                yield local
            return
        from datasets.utils.file_utils import xopen  # it retries dropped connections

        with io.BufferedReader(_Steps(xopen(self._file, "rb")), _REQUEST_BYTES) as file:
            yield file

    @contextmanager
    def _open_bytes(self) -> Iterator[Bytes]:
        with self._open() as file:
            yield Bytes(self._path, file, self._reading)

    def _content(self, source: Bytes) -> bytes:
        """Returns a file that is read whole."""
        parts, size = [], 0
        while part := source.read(_STEP_BYTES):
            size += len(part)
            if size > self._reading.limits.max_line_bytes:
                reason = f"is longer than {self._reading.limits.max_line_bytes:,} bytes"
                raise UnusableFileError(self._path, reason, "pass a higher --max-line-bytes")
            parts.append(part)
        return b"".join(parts)


class ParquetRows(Rows):
    """The rows of a Parquet file, read page by page."""

    def jump(self, rows: int) -> int:
        """Returns the rows of the leading row groups within the first `rows`; fetches the file's footer."""
        if rows == 0:
            return 0
        with self._open() as file:
            table = ParquetFile(file, self._reading.limits)
            return sum(table.group_rows[: self._groups_within(table, rows)])

    def texts(self, after: int) -> Iterator[RawText | Unusable]:
        for row in self.read(after):
            values = values_of(row, "", self._reading)
            if isinstance(values, Unusable):
                yield values
                continue
            _, text = value_at(values, self._reading.text_column)
            yield text_of_row(values, "", self._reading, utf8_length(text) if isinstance(text, str) else 0)

    def read(self, after: int) -> Iterator[Row]:
        """Yields the rows after the first `after`, as Arrow scalars."""
        with self._open() as file:
            table = ParquetFile(file, self._reading.limits)
            columns = columns_to_read(table.schema, self._reading.text_column)
            if columns is None:
                raise no_such_column(self._address, self._reading.text_column, names_in(table.schema))
            yield from table.rows(columns, self._groups_within(table, after))

    @staticmethod
    def _groups_within(file: ParquetFile, rows: int) -> int:
        """Returns how many leading row groups have at most `rows` rows together."""
        groups = 0
        for group_rows in file.group_rows:
            rows -= group_rows
            if rows < 0:
                break
            groups += 1
        return groups


class JsonRows(Rows):
    """The rows of a file of JSON lines, or of one JSON list, which is held in memory."""

    def texts(self, after: int) -> Iterator[RawText | Unusable]:
        if not any(suffix.lower() in _LINES for suffix in self._path.suffixes) and self._is_list():
            yield from self._texts_of_list()
            return
        with self._open_bytes() as source:
            yield from texts_of_lines(self._path, source, self._reading)

    def _is_list(self) -> bool:
        with self._open_bytes() as source:
            return source.read(_STEP_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")

    def _texts_of_list(self) -> Iterator[RawText | Unusable]:
        with self._open_bytes() as source:
            content = self._content(source).removeprefix(b"\xef\xbb\xbf")
        rows = parsed(content, "", self._reading, 0)
        if isinstance(rows, Unusable):
            raise UnusableFileError(self._path, rows.reason, rows.remedy)
        for row in rows:
            yield text_of_row({"text": row} if isinstance(row, str) else row, "", self._reading, 0)


class CsvRows(Rows):
    """The rows of a file of separated values whose first line names the columns."""

    def texts(self, after: int) -> Iterator[RawText | Unusable]:
        with self._open_bytes() as source:
            for row in rows_of_csv(self._path, source, self._config.sep, self._reading):
                if isinstance(row, dict) and not value_at(row, self._reading.text_column)[0]:
                    raise no_such_column(self._address, self._reading.text_column, row)
                yield row if isinstance(row, Unusable) else text_of_row(row, "", self._reading, 0)


class TextRows(Rows):
    """A file that is one text, which is held in memory."""

    def texts(self, after: int) -> Iterator[RawText | Unusable]:
        limit = self._reading.limits.max_line_bytes
        try:
            with self._open_bytes() as source:
                pieces, size = [], 0
                for piece in text_pieces(self._path, source):
                    pieces.append(piece)
                    size += utf8_length(piece)
                    if size > limit:
                        reason = f"is longer than {limit:,} bytes"
                        raise UnusableFileError(self._path, reason, "pass a higher --max-line-bytes")
        except UnusableFileError as error:
            yield Unusable("", error.reason, error.remedy)
            return
        yield RawText(pieces, size)


class _Steps(ForwardingFile):
    """A file whose reads request at most `_REQUEST_BYTES` each."""

    def readinto(self, into: Any) -> int:
        view = memoryview(into)
        got = self._file.read(min(len(view), _REQUEST_BYTES))
        view[: len(got)] = got
        return len(got)

    def close(self) -> None:
        self._file.close()
        super().close()
