"""Streams datasets from the Hugging Face hub, one text per row.

`datasets` finds the files of a split. revlm reads them itself: `datasets` limits neither what a file expands to nor
the length of a row, and reads formats that hold pickles.
"""

import functools
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from revlm.corpus.reading.hub.address import HubAddress
from revlm.corpus.reading.hub.errors import no_such_split, opening, reading_on, require_access
from revlm.corpus.reading.hub.rows import CsvRows, JsonRows, ParquetRows, Rows, TextRows
from revlm.corpus.reading.readers.raw import RawText, Reading, Unusable, printable
from revlm.errors import DataError

_ROWS: dict[str, type[Rows]] = {"parquet": ParquetRows, "json": JsonRows, "csv": CsvRows, "text": TextRows}
_ARCHIVES = {".zip", ".tar", ".tgz", ".xz", ".lz4", ".7z", ".rar"}
_AS_PARQUET = "try --revision refs/convert/parquet, where the hub keeps a copy of many datasets, or convert its files"


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

    def require_own_files(self, *, follow_links: bool) -> None:
        """Raises DataError if a file of the split lies elsewhere: a link leads there, or the dataset's card names it.

        `follow_links` allows it in a local folder.
        """
        if self.is_local and follow_links:
            return
        for file in self._files():
            if not self._holds(file):
                remedy = "; pass --follow-links if you trust it" if self.is_local else ", which revlm does not read"
                raise DataError(f"{self} names {printable(file)}, which leads out of the dataset{remedy}")

    def texts(self, reading: Reading, *, skip: int = 0) -> Iterator[RawText | Unusable]:
        """Yields the text of each row after the first `skip`; its place names the row, and the file among several.

        The title is the column `title` where it holds strings. Skipped row groups of Parquet files are not fetched;
        skipped rows of other formats are read again.

        Raises:
            DataError: there is no such column, a file is damaged, or the connection is lost despite retries.
        """
        place = ""
        with reading_on(self, lambda: place):
            for rows in self._rows(reading):
                jumped = rows.jump(skip)
                skip -= jumped
                for number, found in enumerate(rows.texts(jumped), jumped + 1):
                    reading.raise_if_stopped()
                    if skip:
                        skip -= 1
                        continue
                    place = f"{rows.name}, row {number}" if rows.name else f"row {number}"
                    yield found._replace(place=place)

    def _files(self) -> list[str]:
        """Returns all files of the split, in order."""
        files = _opened(self).config.data_files
        if self.split not in files:
            raise no_such_split(self, files)
        return list(files[self.split])

    def _holds(self, file: str) -> bool:
        """Returns whether a file lies within the dataset."""
        if not self.is_local:
            return file.startswith((f"{self.path}@", f"{self.path}/"))
        root = Path(self.path)
        if root.parent.name == "snapshots":  # of the cache of `hf download`, whose files are links to ../../blobs
            root = root.parent.parent
        return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root))

    def _rows(self, reading: Reading) -> list[Rows]:
        """Returns the rows of each file of the split.

        Raises:
            DataError: their format is not read.
        """
        opened, files = _opened(self), self._files()
        name_of_format = type(opened).__module__.rpartition(".")[2]
        rows = _ROWS.get(name_of_format)
        if rows is None:
            raise DataError(
                f"{self} has files of the format {name_of_format}, which revlm does not read; {_AS_PARQUET}"
            )
        if options := _options(opened.config):
            named = ", ".join(options)
            raise DataError(
                f"{self} has a card with options of its files that revlm does not read ({named}); {_AS_PARQUET}"
            )
        if archive := next((file for file in files if Path(file).suffix.lower() in _ARCHIVES), None):
            named = printable(os.path.basename(archive))
            raise DataError(f"{self} has its files in an archive, {named}, which revlm does not open; {_AS_PARQUET}")
        names = [os.path.relpath(file, opened.base_path) if len(files) > 1 else "" for file in files]
        return [rows(name, file, self, opened.config, reading) for name, file in zip(names, files, strict=True)]


def _opened(address: HubAddress) -> Any:
    return _open(HubAddress(address.id, revision=address.revision, config=address.config))


@functools.cache
def _open(address: HubAddress) -> Any:
    """Returns the builder that `datasets` makes for a dataset: its commit, its files and its splits."""
    import datasets

    if address.is_local and not os.path.isdir(address.path):
        raise DataError(f"{address.path} is not a folder; check the path")
    with opening(address):
        if not address.is_local:
            require_access(address)
        builder = datasets.load_dataset_builder(address.path, name=address.config, revision=address.revision)
        if not builder.config.data_files:  # offline, `datasets` uses any cached copy, of any revision
            raise ConnectionError("HF_HOME holds only a copy of another revision")
    return builder


def _options(config: Any) -> list[str]:
    """Returns the options of a format, set in a dataset's card, that change what its files say."""
    import datasets

    free = {each.name for each in fields(datasets.BuilderConfig)} | {"features", "sep", "delimiter"}
    usual = type(config)()
    set_here = [each.name for each in fields(config) if getattr(config, each.name) != getattr(usual, each.name)]
    separator = getattr(config, "sep", ",")
    is_known = isinstance(separator, str) and len(separator) == 1
    return [name for name in set_here if name not in free] + ([] if is_known else ["sep"])
