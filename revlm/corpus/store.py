"""The token store: a `datasets` Arrow folder with the tokenizer and a manifest beside it.

`datasets.load_from_disk(DIR)` opens it as it is. One row is one document, or one part of a document that is
longer than a row may be; `_schema` names the columns. `bytes` and `sha256` are those of the whole document's
cleaned text, the same in every part. `manifest.json` is written last and names every file with its sha256:
without it there is no store.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from revlm.corpus.cleaning import Cleaning
from revlm.corpus.corpus_files import Skipped
from revlm.corpus.tokenizer import Tokenizer
from revlm.errors import DataError

if TYPE_CHECKING:
    import pyarrow

MANIFEST = "manifest.json"
FORMAT = "revlm token store"
FORMAT_VERSION = 1
ROW_TOKENS = 1 << 24


@dataclass(frozen=True)
class StoredDocument:
    """One document of a store: its sizes, the sha256 of its text, and how its file was cleaned."""

    title: str
    source: str
    tokens: int
    bytes: int
    sha256: str
    parts: int
    cleaning: Cleaning


class StoreWriter:
    """Writes a store into a folder that nobody reads yet; rows go to disk document by document."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, *, row_tokens: int = ROW_TOKENS) -> None:
        import pyarrow

        self._folder = folder
        self._tokenizer = tokenizer
        self._row_tokens = row_tokens
        self._dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)
        self._schema = _schema(self._dtype)
        # In a folder of its own, for `datasets` does not save into a folder that it reads from.
        self._rows_file = folder / "rows" / "rows.arrow"
        self._rows_file.parent.mkdir()
        self._sink = pyarrow.OSFile(str(self._rows_file), "wb")
        self._rows = pyarrow.ipc.new_stream(self._sink, self._schema)
        self.documents: list[StoredDocument] = []

    def add(self, title: str, source: str, text: bytes, ids: npt.NDArray[np.integer], cleaning: Cleaning) -> None:
        """Appends a document of the cleaned UTF-8 `text` and its `ids`, int [tokens]."""
        tokens = ids.astype(self._dtype)
        parts = [tokens[start : start + self._row_tokens] for start in range(0, len(tokens), self._row_tokens)]
        digest = hashlib.sha256(text).hexdigest()
        stored = StoredDocument(title, source, len(tokens), len(text), digest, len(parts), cleaning)
        for number, part in enumerate(parts):
            self._rows.write_batch(_row(self._schema, part, stored, document=len(self.documents), part=number))
        self.documents.append(stored)

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def _close(self) -> None:
        if not self._sink.closed:
            self._rows.close()
            self._sink.close()

    def finish(self, skipped: list[Skipped]) -> None:
        """Turns the rows into the `datasets` folder, adds the tokenizer, and last the manifest."""
        self._close()
        _save_as_dataset(self._rows_file, self._folder, [document.sha256 for document in self.documents])
        shutil.rmtree(self._rows_file.parent)
        self._tokenizer.save(self._folder)
        files = sorted(path for path in self._folder.iterdir() if path.is_file())
        manifest = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "documents": len(self.documents),
            "tokens": sum(document.tokens for document in self.documents),
            "bytes": sum(document.bytes for document in self.documents),
            "token_dtype": self._dtype.name,
            "tokenizer": {
                "kind": self._tokenizer.kind,
                "file": self._tokenizer.file_name,
                "vocab_size": self._tokenizer.vocab_size,
                "begin_id": self._tokenizer.begin_id,
                "fingerprint": self._tokenizer.fingerprint,
            },
            "files": {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files},
            "sources": [asdict(document) for document in self.documents],
            "skipped": [asdict(each) for each in skipped],
        }
        for path in files:
            _flush_to_disk(path)
        (self._folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
        _flush_to_disk(self._folder / MANIFEST)


def is_store(folder: Path) -> bool:
    """Whether a folder has the manifest of a token store, of whatever version."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """Returns the manifest of a store after checking that the files it names are there in full length.

    Raises:
        DataError: the folder is missing, is no store or an unfinished one, or a file was cut or lost.
    """
    path = Path(folder) / MANIFEST
    remedy = f"run `revlm tokenize CORPUS -o {folder}` again"
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{folder} is no token store, it has no {MANIFEST}; {remedy}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); {remedy}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{path} is not the manifest of a token store; {remedy}")
    if manifest.get("version") != FORMAT_VERSION:
        raise DataError(f"{folder} was written in version {manifest.get('version')} of the store; {remedy}")
    for name, expected in manifest["files"].items():
        file = Path(folder) / name
        found = file.stat().st_size if file.is_file() else 0
        if found != expected["bytes"]:
            raise DataError(f"{file} has {found} bytes and should have {expected['bytes']}; {remedy}")
    return manifest


def read_tokens(folder: Path | str, manifest: dict[str, Any]) -> list[list[npt.NDArray[np.unsignedinteger]]]:
    """Returns for each document its parts, uint16 or uint32 [tokens]: views of the mapped file."""
    import pyarrow

    documents: list[list[npt.NDArray[np.unsignedinteger]]] = [[] for _ in range(manifest["documents"])]
    for name in sorted(name for name in manifest["files"] if name.endswith(".arrow")):
        try:
            table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(Path(folder) / name))).read_all()
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{Path(folder) / name} cannot be read ({error}); run `revlm tokenize` again") from error
        numbers = table["document"].to_pylist()
        row = 0
        for chunk in table["tokens"].chunks:
            offsets = chunk.offsets.to_numpy()
            values = chunk.values.to_numpy(zero_copy_only=True)
            for start, stop in pairwise(offsets):
                documents[numbers[row]].append(values[start:stop])
                row += 1
    return documents


def _schema(dtype: np.dtype[Any]) -> "pyarrow.Schema":
    import pyarrow

    return pyarrow.schema(
        {
            "tokens": pyarrow.large_list(pyarrow.from_numpy_dtype(dtype)),
            "title": pyarrow.string(),
            "source": pyarrow.string(),
            "bytes": pyarrow.int64(),
            "sha256": pyarrow.string(),
            "document": pyarrow.int32(),
            "part": pyarrow.int32(),
        }
    )


def _row(
    schema: "pyarrow.Schema", tokens: npt.NDArray[Any], stored: StoredDocument, *, document: int, part: int
) -> "pyarrow.RecordBatch":
    import pyarrow

    column = pyarrow.LargeListArray.from_arrays(pyarrow.array([0, len(tokens)], pyarrow.int64()), pyarrow.array(tokens))
    rest = [stored.title, stored.source, stored.bytes, stored.sha256, document, part]
    scalars = [pyarrow.array([value], each.type) for value, each in zip(rest, list(schema)[1:], strict=True)]
    return pyarrow.record_batch([column, *scalars], schema=schema)


def _save_as_dataset(rows_file: Path, folder: Path, digests: list[str]) -> None:
    """Saves the rows as `datasets` does, with a fingerprint of the texts: equal input gives equal files."""
    import datasets

    rows = datasets.Dataset.from_file(str(rows_file))
    fingerprint = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    dataset = datasets.Dataset(rows.data, fingerprint=fingerprint)
    shows_bars = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        dataset.save_to_disk(str(folder))
    finally:
        if not shows_bars:
            datasets.enable_progress_bars()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
