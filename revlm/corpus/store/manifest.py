"""The manifest of a token store: its schema, and verified reading of the store's files.

The manifest is sealed (`storage.sealing`) and lists every other file of the store with its size and sha256, so a
changed bit anywhere in a store is detected when its file is read. The schema is strict and redundant values must agree:
nothing here trusts that revlm wrote the manifest.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.reading.corpus_files import Shard
from revlm.corpus.reading.store_folder import DATASET_FILES, FORMAT, MANIFEST, manifest_bytes, open_regular
from revlm.corpus.tokenizing.tokenizer import BYTE_TOKENIZERS, SentencePieceTokenizer, Tokenizer
from revlm.errors import DataError, RevlmError
from revlm.storage import digest_of_json, read_sealed, sealed_json

FORMAT_VERSION: Final = 3
DOCUMENTS, SKIPPED = "documents.jsonl", "skipped.jsonl"

_CHUNK_BYTES = 1 << 22
_KINDS: tuple[type[Tokenizer], ...] = (SentencePieceTokenizer, *BYTE_TOKENIZERS)
_TOKENIZERS = {each.kind: each for each in _KINDS}

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
CountBytes = Callable[[int, str], object]
"""Called with the bytes read since the last call and the name of their file."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class StoredFile(_Strict):
    """The size and content of one file of a store."""

    bytes: Count
    sha256: Sha256


class StoredTokenizer(_Strict):
    """The tokenizer of a store, a file beside its rows; the fingerprint is the file's sha256."""

    kind: Literal["sentencepiece", "bytes", "binary", "pixels"]
    file: str
    vocab_size: Annotated[int, Field(ge=1, lt=1 << 31)]
    begin_id: Count
    fingerprint: Sha256

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "StoredTokenizer":
        return cls(
            kind=tokenizer.kind,  # type: ignore[arg-type]  # one of these, as pydantic checks
            file=tokenizer.file_name,
            vocab_size=tokenizer.vocab_size,
            begin_id=tokenizer.begin_id,
            fingerprint=tokenizer.fingerprint,
        )


class Manifest(_Strict):
    """What a token store holds.

    Attributes:
        corpus: the digest of the corpus's location (`replacing.corpus_digest`), so that a store of another corpus is
            replaced only on request.
        documents, rows, tokens, bytes: totals; a long document has several rows, bytes are those of the cleaned texts.
        skipped: the number of files and texts that gave no document.
        shard: which shard of a corpus it is; None for a whole corpus.
        cleaning: what was removed, summed over all texts.
        token_dtype: the dtype of the stored ids.
        files: all files but the manifest, by name.
    """

    format: Literal["revlm token store"] = FORMAT
    version: Literal[3] = FORMAT_VERSION
    corpus: Sha256
    documents: Count
    rows: Count
    tokens: Count
    bytes: Count
    skipped: Count
    shard: Shard | None
    cleaning: Cleaning
    token_dtype: Literal["uint16", "uint32"]
    tokenizer: StoredTokenizer
    files: dict[str, StoredFile]

    NOT_OF_THE_CONTENT: ClassVar = {"corpus"}

    @property
    def fingerprint(self) -> str:
        """The sha256 of the store's content, in hexadecimal; it does not depend on the location of the corpus."""
        return digest_of_json(self.model_dump(mode="json", exclude=self.NOT_OF_THE_CONTENT))

    @property
    def file_bytes(self) -> int:
        """The total size of all files in bytes."""
        return sum(file.bytes for file in self.files.values())

    @property
    def row_files(self) -> list[str]:
        """The files of rows, in order."""
        return sorted(name for name in self.files if name.endswith(".arrow"))

    def as_bytes(self) -> bytes:
        return sealed_json(self.model_dump(mode="json"))

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        counts = (self.documents, self.rows, self.tokens)
        _require(list(counts) == sorted(counts), "fewer rows than documents, or fewer tokens than rows")
        _require(len({count > 0 for count in (*counts, self.bytes)}) == 1, "documents without tokens, or the reverse")
        _require(all(getattr(self.cleaning, each.name) >= 0 for each in fields(self.cleaning)), "a negative count")
        if self.shard is not None:
            _require(1 <= self.shard.number <= self.shard.count, "a shard that cannot be")
        tokenizer = self.tokenizer
        _require(tokenizer.file == _TOKENIZERS[tokenizer.kind].file_name, "another tokenizer's file")
        _require(tokenizer.begin_id < tokenizer.vocab_size, "a begin token beyond the vocabulary")
        _require((self.token_dtype == "uint16") == (tokenizer.vocab_size <= 1 << 16), "another type of ids")
        expected = {DOCUMENTS, SKIPPED, *DATASET_FILES, tokenizer.file, *row_file_names(len(self.row_files))}
        _require(bool(self.row_files) and self.files.keys() == expected, "other files than a store has")
        _require(self.files[tokenizer.file].sha256 == tokenizer.fingerprint, "another tokenizer's fingerprint")
        return self


def row_file_names(count: int) -> list[str]:
    """Returns the names of a store's `count` row files."""
    return [f"data-{number:05d}-of-{count:05d}.arrow" for number in range(count)]


def read_manifest(folder: Path | str) -> Manifest:
    """Returns the verified manifest of a store, after checking that the files it lists exist with the right size.

    Raises:
        DataError: the folder is missing, is not a store or an unfinished one, or the manifest is damaged, or a file is
            missing or has another size.
    """
    folder = Path(folder)
    path, remedy = folder / MANIFEST, _again(folder)
    with naming(path):
        if not folder.is_dir():
            there = "is not a folder" if folder.exists() else "does not exist"
            where = "" if folder.is_absolute() else f" ({folder.absolute()})"
            raise DataError(f"the token store {folder} {there}{where}: check the path, or {remedy}")
        if not os.path.lexists(path):
            raise DataError(f"{folder} is not a token store, it has no {MANIFEST}; {remedy}")
        content = manifest_bytes(folder)
    try:
        values = json.loads(content)
        found, version = values["format"], values["version"]
    except Exception as error:  # whatever the parser raises for a damaged file
        raise DataError(f"{path} cannot be read, it is damaged; {_restore(folder)}") from error
    if found != FORMAT:
        raise DataError(f"{path} is not the manifest of a token store; {_restore(folder)}")
    if version != FORMAT_VERSION:
        raise DataError(f"{folder} was written in version {version!r:.20} of the store; {remedy}")
    try:
        manifest = Manifest.model_validate_json(json.dumps(read_sealed(content)))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "its counts or files"
        raise DataError(f"{path} is not a valid manifest of a token store ({where:.100} is wrong); {remedy}") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); {_restore(folder)}") from error
    for name, file in manifest.files.items():
        _require_size(folder / name, file)
    return manifest


def require_whole(folder: Path, name: str, file: StoredFile, progress: CountBytes = lambda n_bytes, name: None) -> None:
    """Verifies a file of a store against its sha256.

    Raises:
        DataError: it differs or cannot be read.
    """
    if sha256_of_file(folder / name, progress) != file.sha256:
        raise damaged(folder, [name])


def sha256_of_file(path: Path, progress: CountBytes) -> str:
    """Returns the sha256 of a file of a store; raises a DataError that names it where it cannot be read."""
    digest = sha256()
    with naming(path):
        file = open_regular(path)
    with file:
        while True:
            with naming(path):
                chunk = file.read(_CHUNK_BYTES)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)
            progress(len(chunk), path.name)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns any exception from reading a file of a store into a DataError that names it."""
    try:
        yield
    except RevlmError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} cannot be read ({reason:.200}); {_restore(path.parent)}") from error


def damaged(folder: Path, names: list[str]) -> DataError:
    """Returns the error for files of a store whose content differs from the manifest."""
    return DataError(
        f"{', '.join(names)} in {folder} changed since the store was written (the sha256 differs): {_restore(folder)}"
    )


def inconsistent(folder: Path, what: str) -> DataError:
    """Returns the error for a store whose files are intact but inconsistent."""
    return DataError(f"{folder} is not a token store that revlm wrote, {what}: {_again(folder)}")


def _require_size(path: Path, expected: StoredFile) -> None:
    with naming(path):
        status = path.stat() if os.path.lexists(path) else None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is {'missing' if status is None else 'not a regular file'}; {_restore(path.parent)}")
    if status.st_size != expected.bytes:
        raise DataError(f"{path} has {status.st_size} bytes and should have {expected.bytes}; {_restore(path.parent)}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _restore(folder: Path) -> str:
    return f"restore it from a copy, or {_again(folder)}"


def _again(folder: Path) -> str:
    return f"run `revlm tokenize CORPUS -o {folder}` again"
