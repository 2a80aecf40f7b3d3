"""Writes token stores: Arrow rows for `datasets`, then the tokenizer, and the manifest last."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import numpy.typing as npt

from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.reading.corpus_files import Shard
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.reading.store_folder import MANIFEST
from revlm.corpus.store.manifest import DOCUMENTS, SKIPPED, Manifest, StoredFile, StoredTokenizer, row_file_names
from revlm.corpus.store.rows import StoredTokens, schema_of
from revlm.corpus.store.token_store import StoredDocument
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.storage import Closing, sha256_of, sync_file, sync_folder, write_file

if TYPE_CHECKING:
    import pyarrow

ROW_TOKENS = 1 << 24
# A row file ends after the row that reaches this size.
FILE_BYTES = 500_000_000
# Short documents share a batch of about this size: each batch costs a few kilobytes when the store is opened.
BATCH_BYTES = 1 << 20


def write_store(
    folder: Path,
    tokenizer: Tokenizer,
    documents: Iterable[tuple[StoredDocument, Iterable[StoredTokens]]],
    skipped: Iterable[Skipped],
    *,
    corpus: str,
    deduplicate: bool = False,
    shard: Shard | None = None,
) -> None:
    """Fills an empty folder with a store of documents, each with its tokens in the parts that become rows.

    `corpus` is the digest of the corpus's location. With `deduplicate`, duplicates are left out and listed after the
    skipped entries.
    """
    left_out: list[Skipped] = []
    with StoreWriter(folder, tokenizer) as writer:
        for document, parts in documents:
            if deduplicate and document.duplicate:
                left_out.append(Skipped(document.source, document.duplicate))
            else:
                writer.add(document, parts)
        writer.finish(chain(skipped, left_out), corpus, shard)


class StoreWriter(Closing):
    """Writes a store into an empty folder that nothing else reads yet; rows are written in batches.

    Equal documents give equal bytes.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self._folder, self._tokenizer = folder, tokenizer
        self._schema = schema_of(tokenizer.token_dtype)
        self._rows: _RowFile | None = None
        self._row_files: list[Path] = []
        self._lines: TextIO = (folder / DOCUMENTS).open("w", encoding="utf-8")
        self._fingerprint = hashlib.sha256()
        self._documents = self._n_rows = self._tokens = self._bytes = 0
        self._cleaning = Cleaning()

    def add(self, document: StoredDocument, parts: Iterable[StoredTokens]) -> None:
        """Appends a document and its tokens, in the parts that become rows."""
        for number, part in enumerate(parts):
            rows = self._rows or self._begin_row_file()
            rows.write(_row(self._schema, part, document, self._documents, number))
            self._n_rows += 1
            if rows.bytes_written >= FILE_BYTES:
                self._end_row_file()
        self._lines.write(_line(document.as_dict()))
        self._fingerprint.update(document.sha256.encode())
        self._documents += 1
        self._tokens += document.tokens
        self._bytes += document.bytes
        self._cleaning += document.cleaning

    def finish(self, skipped: Iterable[Skipped], corpus: str, shard: Shard | None = None) -> None:
        """Completes the folder; `corpus` is the digest of the corpus's location, `shard` which shard this is."""
        if not self._row_files:
            self._begin_row_file()  # `datasets` needs a file even in a store without documents
        self.close()
        names = row_file_names(len(self._row_files))
        for path, name in zip(self._row_files, names, strict=True):
            path.rename(path.with_name(name))
        self._describe_dataset(names)
        n_skipped = 0
        with (self._folder / SKIPPED).open("w", encoding="utf-8") as lines:
            for n_skipped, each in enumerate(skipped, 1):  # noqa: B007
                lines.write(_line(asdict(each)))
        self._tokenizer.save(self._folder)
        files = sorted(path for path in self._folder.iterdir())
        for path in files:
            sync_file(path)
        manifest = Manifest(
            corpus=corpus,
            documents=self._documents,
            rows=self._n_rows,
            tokens=self._tokens,
            bytes=self._bytes,
            skipped=n_skipped,
            shard=shard,
            cleaning=self._cleaning,
            token_dtype="uint16" if self._tokenizer.token_dtype == np.uint16 else "uint32",
            tokenizer=StoredTokenizer.of(self._tokenizer),
            files={path.name: StoredFile(bytes=path.stat().st_size, sha256=sha256_of(path)) for path in files},
        )
        write_file(self._folder / MANIFEST, manifest.as_bytes())
        sync_folder(self._folder)

    def close(self) -> None:
        """Closes the open files; the folder is not a store before `finish`."""
        self._end_row_file()
        self._lines.close()

    def _begin_row_file(self) -> "_RowFile":
        path = self._folder / f"{len(self._row_files):05d}.arrow"
        self._row_files.append(path)
        self._rows = _RowFile(path, self._schema)
        return self._rows

    def _end_row_file(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def _describe_dataset(self, names: list[str]) -> None:
        """Writes what `Dataset.save_to_disk` writes besides the rows; the fingerprint is the texts'.

        `datasets` itself would do it, but takes a second and 100 MB to import.
        """
        info: dict[str, Any] = dict.fromkeys(("description", "citation", "homepage", "license"), "")
        info["features"] = {field.name: _feature(field.type) for field in self._schema}
        (self._folder / "dataset_info.json").write_text(json.dumps(info), "utf-8")
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in names],
            "_fingerprint": self._fingerprint.hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        (self._folder / "state.json").write_text(json.dumps(state, indent=2, sort_keys=True), "utf-8")


def _feature(kind: "pyarrow.DataType") -> dict[str, Any]:
    """Returns how `datasets` describes an Arrow type of a store."""
    import pyarrow

    if pyarrow.types.is_large_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "LargeList"}
    return {"dtype": str(kind), "_type": "Value"}


class _RowFile:
    """One file of rows, as an Arrow stream."""

    def __init__(self, path: Path, schema: "pyarrow.Schema") -> None:
        import pyarrow

        self._sink = path.open("wb")  # Arrow rejects a path that is not UTF-8
        self._stream = pyarrow.ipc.new_stream(self._sink, schema)
        self._waiting: list[pyarrow.RecordBatch] = []
        self._waiting_bytes = 0
        self.bytes_written = 0

    def write(self, row: "pyarrow.RecordBatch") -> None:
        self._waiting.append(row)
        self._waiting_bytes += row.nbytes
        self.bytes_written += row.nbytes
        if self._waiting_bytes >= BATCH_BYTES:
            self._write_batch()

    def _write_batch(self) -> None:
        import pyarrow

        if self._waiting:
            self._stream.write_batch(pyarrow.concat_batches(self._waiting))
            self._waiting.clear()
            self._waiting_bytes = 0

    def close(self) -> None:
        self._write_batch()
        self._stream.close()
        self._sink.close()


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _row(
    schema: "pyarrow.Schema", tokens: StoredTokens, document: StoredDocument, number: int, part: int
) -> "pyarrow.RecordBatch":
    """Returns a row; every part of a document has the `bytes` and `sha256` of the whole."""
    import pyarrow

    kind = schema.field("tokens").type
    values = pyarrow.Array.from_buffers(kind.value_type, len(tokens), [None, _buffer(tokens)])
    offsets = _buffer(np.array([0, len(tokens)], np.int64))
    column = pyarrow.Array.from_buffers(kind, 1, [None, offsets], children=[values])
    rest: list[str | int] = [document.title, document.source, document.bytes, document.sha256, number, part]
    scalars = [_one_value(value, field.type) for value, field in zip(rest, list(schema)[1:], strict=True)]
    return pyarrow.record_batch([column, *scalars], schema=schema)


def _one_value(value: str | int, kind: "pyarrow.DataType") -> "pyarrow.Array":
    """Returns an Arrow array of one string or integer; `pyarrow.array` would import pandas."""
    import pyarrow

    if isinstance(value, int):
        return pyarrow.Array.from_buffers(kind, 1, [None, _buffer(np.array([value], kind.to_pandas_dtype()))])
    data = np.frombuffer(value.encode(), np.uint8)
    return pyarrow.Array.from_buffers(kind, 1, [None, _buffer(np.array([0, len(data)], np.int32)), _buffer(data)])


def _buffer(values: npt.NDArray[Any]) -> "pyarrow.Buffer":
    import pyarrow

    return pyarrow.py_buffer(np.ascontiguousarray(values))
