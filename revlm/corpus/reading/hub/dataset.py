"""Streams datasets from the Hugging Face hub, one text per row.

`datasets` finds the files of a split and reads most formats. Parquet, the format of most of the hub, is read here page
by page: `datasets` holds whole row groups, which can take gigabytes for books.
"""

import functools
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from revlm.corpus.reading.cleaning import utf8_length
from revlm.corpus.reading.hub.address import HubAddress
from revlm.corpus.reading.hub.errors import no_such_column, no_such_split, opening, reading_on, require_access
from revlm.corpus.reading.hub.rows import DatasetRows, ParquetRows, Rows
from revlm.corpus.reading.readers.parquet_rows import Row, values_of
from revlm.corpus.reading.readers.raw import RawText, Reading, Unusable
from revlm.corpus.reading.readers.rows import TITLE_COLUMN, text_of_row, value_at
from revlm.errors import DataError


@dataclass(frozen=True)
class HubDataset(HubAddress):
    """The texts of a split. The dataset is opened once, at first use.

    Raises:
        DataError: it cannot be opened: the hub cannot be reached or denies access, the dataset does not exist or has
            no readable files.
        UsageError: it has no such split, configuration or revision.
    """

    def pinned(self) -> "HubDataset":
        """Returns the dataset at the commit that its revision names now, so that resuming reads the same rows."""
        return self if self.is_local else replace(self, revision=_opened(self).hash)

    @property
    def version(self) -> str:
        """The commit of its revision; for a folder, a digest of its files' names, sizes and modification times."""
        if not self.is_local:
            return str(_opened(self).hash)
        versions = [(file, os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in self._files()]
        return hashlib.sha256(repr(versions).encode()).hexdigest()

    def total_bytes(self) -> int | None:
        """Returns the approximate size of its rows in bytes, over all columns, or None where the hub has no count."""
        self._files()  # raises where there is no such split
        counted = (_opened(self).info.splits or {}).get(self.split)
        return counted.num_bytes or None if counted else None

    def texts(self, reading: Reading, *, skip: int = 0) -> Iterator[RawText | Unusable]:
        """Yields the text of each row after the first `skip`; its place names the row, and the file among several.

        The title is the column `title` where it holds strings; `read_bytes` is the text's length in UTF-8. Skipped row
        groups of Parquet files are not fetched; skipped rows of other formats are read again.

        Raises:
            DataError: there is no such column, a file is damaged, or the connection is lost despite retries.
        """
        place = ""
        with reading_on(self, lambda: place):
            for rows in self._rows(reading):
                jumped = rows.jump(skip)
                skip -= jumped
                for number, row in enumerate(rows.read(jumped), jumped + 1):
                    reading.raise_if_stopped()
                    if skip:
                        skip -= 1
                        continue
                    place = f"{rows.name}, row {number}" if rows.name else f"row {number}"
                    yield _text(row, place, reading)

    def _files(self) -> list[str]:
        """Returns all files of the split, in order."""
        files = _opened(self).config.data_files
        if self.split not in files:
            raise no_such_split(self, files)
        return list(files[self.split])

    def _rows(self, reading: Reading) -> list[Rows]:
        """Returns the rows of each file of the split."""
        from datasets.packaged_modules.parquet.parquet import ParquetConfig

        opened, files, text_column = _opened(self), self._files(), reading.text_column
        names = [os.path.relpath(file, opened.base_path) if len(files) > 1 else "" for file in files]
        if isinstance(opened.config, ParquetConfig):
            return [ParquetRows(name, file, self, reading) for name, file in zip(names, files, strict=True)]
        with opening(self):
            dataset = opened.as_streaming_dataset(split=self.split)
        if dataset.column_names is not None:
            wanted = {text_column, text_column.partition(".")[0], TITLE_COLUMN}
            if wanted.isdisjoint({*dataset.column_names} - {TITLE_COLUMN}) and text_column != TITLE_COLUMN:
                raise no_such_column(self, text_column, dataset.column_names)
            dataset = dataset.select_columns([name for name in dataset.column_names if name in wanted])
        return [DatasetRows(name, dataset.shard(len(files), index)) for index, name in enumerate(names)]


def _opened(address: HubAddress) -> Any:
    return _open(HubAddress(address.id, revision=address.revision, config=address.config))


@functools.cache
def _open(address: HubAddress) -> Any:
    """Returns the builder that `datasets` makes for a dataset: its commit, its files and its splits."""
    import datasets
    from datasets.packaged_modules.text.text import TextConfig

    if address.is_local and not os.path.isdir(address.path):
        raise DataError(f"{address.path} is not a folder; check the path")
    with opening(address):
        if not address.is_local:
            require_access(address)
        builder = datasets.load_dataset_builder(address.path, name=address.config, revision=address.revision)
        if not builder.config.data_files:  # offline, `datasets` uses any cached copy, of any revision
            raise ConnectionError("HF_HOME holds only a copy of another revision")
    if isinstance(builder.config, TextConfig):
        builder.config.sample_by = "document"  # the default makes each line a text
    return builder


def _text(row: Row, place: str, reading: Reading) -> RawText | Unusable:
    values = values_of(row, place, reading)
    if isinstance(values, Unusable):
        return values
    _, text = value_at(values, reading.text_column)
    return text_of_row(values, place, reading, read_bytes=utf8_length(text) if isinstance(text, str) else 0)
