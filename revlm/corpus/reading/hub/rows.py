"""The rows of one file of a dataset: of a Parquet file, or of any other format through `datasets`."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from revlm.corpus.reading.hub.address import HubAddress
from revlm.corpus.reading.hub.errors import no_such_column
from revlm.corpus.reading.readers.forwarding import ForwardingFile
from revlm.corpus.reading.readers.parquet_rows import ParquetFile, Row, columns_to_read, names_in
from revlm.corpus.reading.readers.raw import Reading

# Of one request over the network: lost when the connection drops, and held in memory beside a page.
_REQUEST_BYTES = 16 << 20


class Rows(Protocol):
    """The rows of a file; `name` distinguishes it from the other files of its split (empty where there are none)."""

    name: str

    def jump(self, rows: int) -> int:
        """Returns how many of the first `rows` rows can be skipped without reading them."""

    def read(self, after: int) -> Iterator[Row]:
        """Yields the rows after the first `after`, the number that `jump` returned."""


class ParquetRows:
    """The rows of a Parquet file, read page by page."""

    def __init__(self, name: str, file: str, address: HubAddress, reading: Reading) -> None:
        self.name, self._file, self._address, self._reading = name, file, address, reading

    def jump(self, rows: int) -> int:
        """Returns the rows of the leading row groups within the first `rows`; fetches the file's footer."""
        if rows == 0:
            return 0
        with self._open() as file:
            return sum(file.group_rows[: self._groups_within(file, rows)])

    def read(self, after: int) -> Iterator[Row]:
        with self._open() as file:
            columns = columns_to_read(file.schema, self._reading.text_column)
            if columns is None:
                raise no_such_column(self._address, self._reading.text_column, names_in(file.schema))
            yield from file.rows(columns, self._groups_within(file, after))

    @contextmanager
    def _open(self) -> Iterator[ParquetFile]:
        from datasets.utils.file_utils import xopen  # it retries dropped connections

        with io.BufferedReader(_Steps(xopen(self._file, "rb")), _REQUEST_BYTES) as file:
            yield ParquetFile(file, self._reading.limits)

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


class DatasetRows:
    """The rows of a file as `datasets` streams them."""

    def __init__(self, name: str, dataset: Any) -> None:
        self.name, self._dataset = name, dataset.with_format("arrow")

    def jump(self, rows: int) -> int:
        return 0

    def read(self, after: int) -> Iterator[Row]:
        for table in self._dataset:
            yield {name: table[name][0] for name in table.column_names}


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
