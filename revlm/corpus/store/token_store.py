"""The token store: a `datasets` Arrow folder with a tokenizer and a manifest; only this module opens one.

`datasets.load_from_disk(DIR)` opens it, too. One row is one document, or one part of a document that is longer than a
row may be (`writer`). `documents.jsonl` has a line per document: its source, sizes and cleaning; `skipped.jsonl` has a
line per file or text that gave none, with the reason. `manifest.json` is written last and lists every file with its
sha256: a folder without it is not a store.

Nothing in a store is used before it is verified. Every file is compared with its sha256 before it is parsed or mapped;
then Arrow validates the rows, and they are compared with the schema, the vocabulary and the list of documents. That
reads every byte once, at about a gigabyte per second. Callers that need only the manifest, the lists or the tokenizer
(`plan`, `--tokenizer STORE`) read and verify only these.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter

from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.reading.corpus_files import Shard
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.reading.store_folder import looks_like_store, open_regular
from revlm.corpus.store.manifest import (
    DOCUMENTS,
    SKIPPED,
    CountBytes,
    StoredTokenizer,
    damaged,
    inconsistent,
    naming,
    read_manifest,
    require_whole,
    sha256_of_file,
)
from revlm.corpus.store.rows import StoredRows, StoredTexts
from revlm.corpus.tokenizing.tokenizer import BYTE_TOKENIZERS, ByteTokenizer, SentencePieceTokenizer, Tokenizer

_LINES_AT_ONCE = 256
_LINE_BYTES = 1 << 24  # longer than any line that is written
_Count = Annotated[int, Field(ge=0, lt=1 << 62)]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class StoredDocument:
    """One document of a store.

    Attributes:
        title, source: those of the `Document`.
        tokens, bytes: its length in tokens, and the size of its cleaned text in bytes.
        sha256: the digest of the cleaned text, in hexadecimal.
        parts: the number of its rows.
        cleaning: what was removed from its file.
        duplicate: a sentence part that names the earlier document that it duplicates; None where there is none.
        sketch: its `duplicates.sketch_of`, in base64; None where it is too short for one.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid")

    title: str
    source: str
    tokens: _Count
    bytes: _Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    parts: _Count
    cleaning: Cleaning
    duplicate: str | None = None
    sketch: Annotated[str, Field(pattern="^[0-9A-Za-z+/]{342}==$")] | None = None

    def as_dict(self) -> dict[str, Any]:
        return vars(self) | {"cleaning": vars(self.cleaning)}


@dataclass(frozen=True)
class _SkippedLine(Skipped):
    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid")


_DOCUMENT, _SKIPPED = TypeAdapter(StoredDocument), TypeAdapter(_SkippedLine)


class StoreFolder:
    """The manifest, the lists and the tokenizer of a store; each file is verified when it is first read.

    Attributes:
        folder: its path.
        manifest: its manifest.

    Raises:
        DataError: as `read_manifest`; any method raises it where the file that it reads is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        self._verified: set[str] = set()

    @property
    def shard(self) -> Shard | None:
        """Which shard of a corpus it is; None for a whole corpus."""
        return self.manifest.shard

    def documents(self) -> Iterator[StoredDocument]:
        """Yields the entry of each document, in order."""
        return self._lines(DOCUMENTS, _DOCUMENT, self.manifest.documents)

    def skipped(self) -> Iterator[Skipped]:
        """Yields the files and texts that gave no document."""
        for line in self._lines(SKIPPED, _SKIPPED, self.manifest.skipped):
            yield Skipped(line.path, line.reason)

    def read_tokenizer(self) -> Tokenizer:
        """Returns the store's own tokenizer."""
        file = self._whole(self.manifest.tokenizer.file)
        with naming(file):
            tokenizer = Tokenizer.load(file)
        if StoredTokenizer.of(tokenizer) != self.manifest.tokenizer:
            raise inconsistent(self.folder, "its tokenizer is not the one that its manifest describes")
        return tokenizer

    def verify_files(self, progress: CountBytes = lambda n_bytes, name: None) -> None:
        """Compares every file with its sha256; raises a DataError that names all that differ."""
        if names := list(self.damaged_files(progress)):
            raise damaged(self.folder, names)
        self._verified.update(self.manifest.files)

    def damaged_files(self, progress: CountBytes = lambda n_bytes, name: None) -> Iterator[str]:
        """Yields the names of the files whose content differs from the manifest."""
        for name, file in self.manifest.files.items():
            if sha256_of_file(self.folder / name, progress) != file.sha256:
                yield name

    def _whole(self, name: str) -> Path:
        """Returns the path of a file after comparing it with its sha256."""
        if name not in self._verified:
            require_whole(self.folder, name, self.manifest.files[name])
            self._verified.add(name)
        return self.folder / name

    def _lines(self, name: str, kind: "TypeAdapter[_Value]", count: int) -> Iterator[_Value]:
        path = self._whole(name)
        found = 0
        with naming(path):
            file = open_regular(path)
        with file:
            while True:
                with naming(path):
                    lines = islice(iter(partial(file.readline, _LINE_BYTES), b""), _LINES_AT_ONCE)
                    values = list(map(kind.validate_json, lines))
                if not values:
                    break
                found += len(values)
                yield from values
        if found != count:
            raise inconsistent(self.folder, f"{name} has {found:,} lines and should have {count:,}")


class TokenStore(StoreFolder):
    """A store opened for its tokens, which stay in memory-mapped files.

    Attributes:
        fingerprint: `Manifest.fingerprint`.
        tokenizer: the store's tokenizer.
        titles: the title of each document.
        texts: the tokens of each document.

    Raises:
        DataError: the folder is missing, is not a store or an unfinished one, or any file is missing or damaged.
    """

    def __init__(
        self, folder: Path | str, progress: CountBytes = lambda n_bytes, name: None, *, verified: bool = False
    ) -> None:
        """`verified` is for a store that this command has already verified, as training does once per machine: mapped
        files are still validated, but their content is not read again."""
        super().__init__(folder)
        if verified:
            self._verified.update(self.manifest.files)
        else:
            self.verify_files(progress)
        self.fingerprint = self.manifest.fingerprint
        self.tokenizer = self.read_tokenizer()
        files = self.manifest.row_files
        self._rows = [StoredRows(self.folder / name, self.tokenizer.token_dtype) for name in files]
        self.titles = [title for each in self._rows for title in each.titles]
        self.texts = StoredTexts(self._rows)
        self._verify_counts()
        if not verified:
            self.verify_content()

    def __len__(self) -> int:
        return len(self.texts)

    def verify_content(self) -> None:
        """Compares the ids with the vocabulary, and the rows and totals with the lists."""
        self._verify_ids()
        self._verify_documents()
        deque(self.skipped(), maxlen=0)

    def _verify_counts(self) -> None:
        """Compares the totals, and checks that rows are numbered without gaps and not empty."""
        if not self.texts.are_numbered(self._rows):
            raise inconsistent(self.folder, "its rows are not numbered without gaps, or one is empty")
        sums = {
            "documents": len(self.texts),
            "rows": sum(len(each.begins) for each in self._rows),
            "tokens": self.texts.n_tokens,
        }
        for name, found in sums.items():
            if found != (expected := getattr(self.manifest, name)):
                raise inconsistent(self.folder, f"its rows hold {found:,} {name} and its manifest says {expected:,}")

    def _verify_ids(self) -> None:
        largest = max((int(values.max(initial=0)) for each in self._rows for values in each.values), default=0)
        if largest >= self.tokenizer.vocab_size:
            raise inconsistent(
                self.folder, f"it holds the token {largest} and the vocabulary ends at {self.tokenizer.vocab_size - 1}"
            )

    def _verify_documents(self) -> None:
        rows = (row for each in self._rows for row in each.first_rows())
        numbered = zip_longest(self.documents(), rows, self.texts.lengths, self.texts.n_parts)
        n_bytes = 0
        for number, (document, row, tokens, parts) in enumerate(numbered):
            listed = document and (document.title, document.source, document.bytes, document.sha256)
            if document is None or row != listed or (tokens, parts) != (document.tokens, document.parts):
                raise inconsistent(self.folder, f"its rows are not those of document {number} of {DOCUMENTS}")
            n_bytes += document.bytes
        if n_bytes != self.manifest.bytes:
            raise inconsistent(
                self.folder, f"{DOCUMENTS} sums up to {n_bytes:,} bytes and its manifest says {self.manifest.bytes:,}"
            )


def require_undamaged(folder: Path | str, progress: CountBytes = lambda n_bytes, name: None) -> None:
    """Verifies a whole store, for a later `TokenStore(..., verified=True)`; calls `progress` every few megabytes.

    Raises:
        DataError: as `TokenStore`.
    """
    TokenStore(folder, progress)


def open_tokenizer(choice: Path | str) -> Tokenizer:
    """Returns the tokenizer that a user names: `bytes`, `binary`, `pixels`, a token store or its file, or what
    `Tokenizer.load` reads.

    Raises:
        DataError: there is none, or it is damaged or not lossless.
    """
    for byte_tokenizer in BYTE_TOKENIZERS:
        if str(choice) == byte_tokenizer.kind:
            return byte_tokenizer()
    path = Path(choice)
    with naming(path):
        folder = path if path.is_dir() else path.parent
        of_a_store = looks_like_store(folder)
    if of_a_store and (path == folder or path.name in {SentencePieceTokenizer.file_name, ByteTokenizer.file_name}):
        return StoreFolder(folder).read_tokenizer()
    return Tokenizer.load(path)
