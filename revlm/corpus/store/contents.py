"""Inspects a token store: the lengths of its documents, the text of one, and damage."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.reading.corpus_files import Shard
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.reading.watch import Progress
from revlm.corpus.store.token_store import StoredDocument, StoreFolder, TokenStore
from revlm.errors import DataError, UsageError

ENDS = 5  # documents listed as the longest, and as the shortest
_LISTED = 20  # names listed in an error
_DECODED_TOKENS = 1 << 16  # decoded at once


@dataclass(frozen=True)
class LengthBin:
    """The number of documents with `low` to `high` tokens, from a power of two to just below the next, and their total
    tokens."""

    low: int
    high: int
    documents: int
    tokens: int


@dataclass(frozen=True)
class StoreContents:
    """What a store holds; documents come with their numbers from 0, as in its column `document`.

    Attributes:
        documents, tokens, bytes: totals; bytes are those of the texts.
        tokenizer, vocab_size, fingerprint: the kind, size and fingerprint of the store's tokenizer.
        shard: which shard of a corpus it is; None for a whole corpus.
        lengths: the bins from the shortest document's to the longest's.
        longest, shortest: the `ENDS` longest and shortest documents, most extreme first, then earliest first.
        duplicates: the documents that duplicate an earlier one.
        skipped: the files and texts that gave no document.
    """

    documents: int
    tokens: int
    bytes: int
    tokenizer: str
    vocab_size: int
    fingerprint: str
    shard: Shard | None
    lengths: tuple[LengthBin, ...]
    longest: tuple[tuple[int, StoredDocument], ...]
    shortest: tuple[tuple[int, StoredDocument], ...]
    duplicates: tuple[tuple[int, StoredDocument], ...]
    skipped: tuple[Skipped, ...]

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes of text per token; None where there are no tokens."""
        return self.bytes / self.tokens if self.tokens else None

    def as_dict(self) -> dict[str, Any]:
        """Returns the contents as JSON values, the documents as `described`."""
        listed = {
            name: [described(number, each) for number, each in getattr(self, name)]
            for name in ("longest", "shortest", "duplicates")
        }
        return asdict(self) | listed | {"bytes_per_token": self.bytes_per_token}


def described(number: int, document: StoredDocument) -> dict[str, Any]:
    """Returns the fields of a document as JSON values, its number first, without its sketch."""
    known = {"document": number, **asdict(document)}
    del known["sketch"]
    return known


def inspect_store(store: TokenStore) -> StoreContents:
    """Returns what a store holds."""
    tokenizer = store.manifest.tokenizer
    return StoreContents(
        documents=len(store),
        tokens=store.manifest.tokens,
        bytes=store.manifest.bytes,
        tokenizer=tokenizer.kind,
        vocab_size=tokenizer.vocab_size,
        fingerprint=tokenizer.fingerprint,
        shard=store.shard,
        lengths=tuple(length_bins(len(text) for text in store.texts)),
        longest=tuple(heapq.nlargest(ENDS, enumerate(store.documents()), key=lambda each: each[1].tokens)),
        shortest=tuple(heapq.nsmallest(ENDS, enumerate(store.documents()), key=lambda each: each[1].tokens)),
        duplicates=tuple(each for each in enumerate(store.documents()) if each[1].duplicate),
        skipped=tuple(store.skipped()),
    )


def length_bins(lengths: Iterable[int]) -> Iterator[LengthBin]:
    """Yields the bins from the shortest length to the longest, including empty ones in between."""
    documents: Counter[int] = Counter()
    tokens: Counter[int] = Counter()
    for length in lengths:
        documents[length.bit_length()] += 1
        tokens[length.bit_length()] += length
    for bits in range(min(documents, default=0), max(documents, default=-1) + 1):
        yield LengthBin(1 << (bits - 1), (1 << bits) - 1, documents[bits], tokens[bits])


def find_document(store: TokenStore, choice: str) -> int:
    """Returns the number of the document that `choice` names: a number, or part of a title, ignoring case.

    Digits are a number where a document has it. A title equal to `choice` takes precedence over those that contain it.

    Raises:
        UsageError: it names no document, or several, which the message lists.
    """
    if choice.isascii() and choice.isdigit() and int(choice) < len(store):
        return int(choice)
    wanted = choice.casefold()
    titles = [title.casefold() for title in store.titles]
    found = [number for number, title in enumerate(titles) if title == wanted]
    found = found or [number for number, title in enumerate(titles) if wanted in title]
    if not found:
        raise UsageError(
            f"{store.folder} has {len(store)} documents, numbered from 0, and none with {choice!r} in its title; "
            "its documents.jsonl has all titles"
        )
    if len(found) > 1:
        listed = "; ".join(f"{number} {store.titles[number]}" for number in found[:_LISTED])
        more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise UsageError(f"{len(found)} titles contain {choice!r}; give one of these numbers: {listed}{more}")
    return found[0]


def decoded(store: TokenStore, document: int) -> Iterator[bytes]:
    """Yields the text of a document, by number, in pieces of UTF-8 that may end inside a character.

    Raises:
        DataError: it holds an id that the tokenizer does not have.
    """
    for part in store.texts[document].parts:
        for start in range(0, len(part), _DECODED_TOKENS):
            yield store.tokenizer.decode_bytes(part[start : start + _DECODED_TOKENS])


@dataclass(frozen=True)
class Damage:
    """The names of files that differ from the manifest, or else the numbers and titles of documents whose tokens do not
    reproduce their text."""

    files: tuple[str, ...] = ()
    documents: tuple[tuple[int, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.documents)

    def __str__(self) -> str:
        named = [*self.files, *(f"document {number} {title}" for number, title in self.documents)]
        more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
        return ", ".join(named[:_LISTED]) + more


def find_damage(folder: Path | str, progress: Progress = lambda done, total, title: None) -> Damage:
    """Returns the damage: compares every file with its sha256 and, where all are intact, every document's text.

    `progress` is called with bytes done, total bytes (of the files and of the texts) and the current file or title.

    Raises:
        DataError: the folder is not a store, a file is truncated or missing, or the files are inconsistent.
    """
    store = StoreFolder(folder)
    total = store.manifest.bytes + store.manifest.file_bytes
    done = 0

    def step(n_bytes: int, title: str) -> None:
        nonlocal done
        done += n_bytes
        progress(done, total, title)

    if files := tuple(store.damaged_files(step)):
        return Damage(files)
    opened = TokenStore(folder, verified=True)
    damage = Damage((), tuple(damaged_documents(opened, step)))
    if not damage:
        opened.verify_content()
    return damage


def damaged_documents(store: TokenStore, step: Callable[[int, str], object]) -> Iterator[tuple[int, str]]:
    """Yields the number and title of each document whose tokens do not reproduce its text.

    `step` is called with the bytes of each document's text, and its title.
    """
    for number, document in enumerate(store.documents()):
        if number >= len(store) or not _is_whole(store, number, document):
            yield number, document.title
        step(document.bytes, document.title)


def _is_whole(store: TokenStore, number: int, document: StoredDocument) -> bool:
    digest = hashlib.sha256()
    try:
        for piece in decoded(store, number):
            digest.update(piece)
    except DataError:
        return False
    return digest.hexdigest() == document.sha256


@dataclass(frozen=True)
class StoreSummary:
    """What a store holds, and the seconds that writing it took; `cleaning` sums up what was removed from all texts.

    `duplicates` pairs the source of each exact or near duplicate with the earlier document that it duplicates.
    """

    output_dir: Path
    documents: int
    tokens: int
    bytes: int
    cleaning: Cleaning
    skipped: tuple[Skipped, ...]
    duplicates: tuple[tuple[str, str], ...]
    tokenizer: str
    vocab_size: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary as JSON values, with all documents in place of their number."""
        documents = [asdict(document) for document in StoreFolder(self.output_dir).documents()]
        for document in documents:
            del document["sketch"]
        duplicates = [{"source": source, "duplicate": duplicate} for source, duplicate in self.duplicates]
        return asdict(self) | {"output_dir": str(self.output_dir), "documents": documents, "duplicates": duplicates}


def summarize(folder: Path, seconds: float) -> StoreSummary:
    """Returns the summary of the store in `folder`, from its manifest and lists."""
    store = StoreFolder(folder)
    manifest = store.manifest
    return StoreSummary(
        output_dir=folder,
        documents=manifest.documents,
        tokens=manifest.tokens,
        bytes=manifest.bytes,
        cleaning=manifest.cleaning,
        skipped=tuple(store.skipped()),
        duplicates=tuple((each.source, each.duplicate) for each in store.documents() if each.duplicate),
        tokenizer=manifest.tokenizer.kind,
        vocab_size=manifest.tokenizer.vocab_size,
        seconds=seconds,
    )
