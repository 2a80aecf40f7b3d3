"""The token store: a `datasets` Arrow folder with the tokenizer and a manifest beside it.

`datasets.load_from_disk(DIR)` opens it as it is. One row is one document, or one part of a document that is longer
than a row may be (`store_writer`). `documents.jsonl` has a line a document: where it came from, its sizes, and how its
text was cleaned; `skipped.jsonl` a line for each file or text that gave none, with the reason. `manifest.json` is
written last and names every file with its sha256: without it there is no store.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revlm.corpus.cleaning import Cleaning
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.store_folder import FORMAT, MANIFEST
from revlm.corpus.stored_texts import StoredRows, StoredTexts, unreadable_store
from revlm.corpus.tokenizer import Tokenizer
from revlm.errors import DataError
from revlm.storage import sha256_of

DOCUMENTS, SKIPPED = "documents.jsonl", "skipped.jsonl"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class StoredDocument:
    """One document of a store.

    Attributes:
        title, source: of the `Document`.
        tokens, bytes: its sizes; bytes are those of the cleaned text.
        sha256: of the cleaned text.
        parts: the rows that it takes.
        cleaning: what was removed from its file.
        duplicate: which document before it has the same text or nearly so; None where none has.
        sketch: its `duplicates.sketch_of`, in base64; None where it is too short for one.
    """

    title: str
    source: str
    tokens: int
    bytes: int
    sha256: str
    parts: int
    cleaning: Cleaning
    duplicate: str | None = None
    sketch: str | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StoredDocument":
        return cls(**values | {"cleaning": Cleaning(**values["cleaning"])})

    def as_dict(self) -> dict[str, Any]:
        return vars(self) | {"cleaning": vars(self.cleaning)}


@dataclass(frozen=True)
class Shard:
    """Which part of a corpus a store holds: `number` of `count`, from 1; `corpus` is the whole's fingerprint."""

    number: int
    count: int
    corpus: str

    def __str__(self) -> str:
        return f"shard {self.number} of {self.count}"


class TokenStore:
    """A store opened for reading; the tokens stay in the mapped files.

    Attributes:
        folder: where it lies.
        manifest: its manifest.
        fingerprint: sha256 of the manifest.
        tokenizer: the store's own.
        titles: of each document.
        texts: the tokens of each document.

    Raises:
        DataError: the folder is missing, is no store or an unfinished one, or a file was cut, lost or damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        self.fingerprint = sha256_of(self.folder / MANIFEST)
        self.tokenizer = Tokenizer.load(self.folder / self.manifest["tokenizer"]["file"])
        rows = [StoredRows(self.folder / name) for name in sorted(self.manifest["files"]) if name.endswith(".arrow")]
        self.titles = [title for each in rows for title in each.titles]
        self.texts = StoredTexts(rows)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def cleaning(self) -> Cleaning:
        """What was removed from all texts together."""
        return Cleaning(**self.manifest["cleaning"])

    @property
    def shard(self) -> Shard | None:
        """Which part of a corpus it is; None for a whole one."""
        return shard_of(self.manifest)

    def documents(self) -> Iterator[StoredDocument]:
        """Yields what is known of each document, in order."""
        for line in _lines(self.folder / DOCUMENTS):
            yield StoredDocument.from_dict(line)

    def skipped(self) -> Iterator[Skipped]:
        """Yields what gave no document."""
        return skipped_in(self.folder)


def skipped_in(folder: Path) -> Iterator[Skipped]:
    """Yields what gave no document in a store."""
    for line in _lines(folder / SKIPPED):
        yield Skipped(**line)


def shard_of(manifest: dict[str, Any]) -> Shard | None:
    """Returns which part of a corpus the store of a manifest is; None for a whole one."""
    return Shard(**manifest["shard"]) if manifest["shard"] else None


def damaged_files(
    folder: Path | str, progress: Callable[[int, str], object] = lambda done, name: None
) -> Iterator[str]:
    """Yields the names of a store's files whose content is not that of the manifest; reads every byte.

    `progress` is called with the bytes of each file that was read, and its name.

    Raises:
        DataError: as `read_manifest`.
    """
    for name, expected in read_manifest(folder)["files"].items():
        if sha256_of(Path(folder) / name) != expected["sha256"]:
            yield name
        progress(expected["bytes"], name)


def require_undamaged(folder: Path | str, progress: Callable[[int, str], object] = lambda done, name: None) -> None:
    """Compares every file of a store with its sha256; `progress` as for `damaged_files`.

    Raises:
        DataError: naming the files that differ, or as `read_manifest`.
    """
    if damaged := list(damaged_files(folder, progress)):
        raise DataError(
            f"{', '.join(damaged)} in {folder} changed since the tokens were written (another sha256): restore "
            f"{'it' if len(damaged) == 1 else 'them'} from a copy, or run `revlm tokenize CORPUS -o {folder}` again"
        )


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


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
    except (OSError, ValueError) as error:
        raise unreadable_store(path, error) from error
