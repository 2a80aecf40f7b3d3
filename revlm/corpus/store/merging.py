"""Merges token stores: the shards of one corpus into the store of the whole, byte for byte, or whole stores into one.

Every store is verified before any row is written, since the merged store gets new digests. Then rows stream from the
memory-mapped files of one store after the other. Duplicates are searched again among all documents, by the sketches in
`documents.jsonl`; no text is read again. The first shard of a corpus lists the skipped entries (`CorpusFiles.shard`),
so the stores' lists are concatenated.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from revlm.corpus.reading.corpus_files import Shard
from revlm.corpus.reading.watch import Progress, Stop, raise_if_stopped
from revlm.corpus.store.checking import duplicate_of
from revlm.corpus.store.contents import Damage, StoreSummary, damaged_documents, summarize
from revlm.corpus.store.duplicates import Duplicates
from revlm.corpus.store.manifest import Manifest, read_manifest
from revlm.corpus.store.replacing import require_same_corpus
from revlm.corpus.store.rows import StoredTokens
from revlm.corpus.store.token_store import StoredDocument, StoreFolder, TokenStore
from revlm.corpus.store.unfinished import unfinished_store
from revlm.corpus.store.writer import write_store
from revlm.errors import DataError, UsageError
from revlm.storage import digest_of_json, require_free_space


def merge_stores(
    stores: Sequence[Path | str],
    output_dir: Path | str,
    *,
    deduplicate: bool = False,
    verify: bool = False,
    replace: bool = False,
    progress: Progress = lambda done, total, title: None,
    message: Callable[[str], object] = lambda text: None,
    stop: Stop = lambda: None,
) -> StoreSummary:
    """Writes one store with all documents of `stores` to `output_dir` and returns its summary.

    All shards of a corpus, in any order, give the store that tokenizing the whole corpus with their tokenizer gives.
    Other stores are merged in the given order.

    Args:
        stores: folders of token stores; they are not changed.
        output_dir: the store; an existing store of the same corpora is replaced once the new one is complete.
        deduplicate: skips exact and near duplicates of earlier documents, instead of only reporting them.
        verify: first compares every document's text with its sha256, not only every file.
        replace: also replaces a store of another corpus.
        progress: called with bytes done, total bytes (of the files and of the texts, twice with `verify`) and a title.
        message: called with sentences for the user.
        stop: polled between documents and files; the work stops once it returns a name.

    Raises:
        UsageError: a shard is missing or given twice, or the stores do not belong together.
        DataError: a store is missing or damaged, the tokenizers differ, or no store has a document.
        StorageError: the merged store cannot be written, or `output_dir` holds something else.
        Interrupted: `stop` requested it; the same call starts over.
    """
    began = time.perf_counter()
    place = Path(os.path.realpath(output_dir))
    _require_distinct([Path(folder) for folder in stores], place)
    manifests = in_order({Path(folder): read_manifest(folder) for folder in stores})
    _require_one_tokenizer(manifests)
    if not any(manifest.documents for manifest in manifests.values()):
        raise DataError(f"no text is left in {_listed(manifests)}; give stores of a corpus with text in it")
    corpus = _corpus_of(manifests)
    require_same_corpus(place, corpus, None, replace=replace)
    steps = _Steps(manifests, verify, progress, stop)
    _verify(manifests, verify, steps)
    plan = {"merge": [str(folder.resolve()) for folder in manifests], "deduplicate": deduplicate}

    def write(folder: Path) -> None:
        needed_bytes = sum(manifest.file_bytes for manifest in manifests.values())
        require_free_space(folder, needed_bytes, "the merged store", "give another folder with -o")
        skipped = chain.from_iterable(StoreFolder(folder).skipped() for folder in manifests)
        tokenizer = StoreFolder(next(iter(manifests))).read_tokenizer()
        documents = _documents(manifests, steps)
        write_store(folder, tokenizer, documents, skipped, corpus=corpus, deduplicate=deduplicate)

    with unfinished_store(place, plan, resume=True, message=message) as work:
        work.finish(place, write)
    return summarize(Path(output_dir), time.perf_counter() - began)


Manifests = dict[Path, Manifest]


class _Steps:
    """Reports progress, and raises Interrupted on a stop request."""

    def __init__(self, manifests: Manifests, verify: bool, progress: Progress, stop: Stop) -> None:
        self._total = sum(each.file_bytes + (1 + verify) * each.bytes for each in manifests.values())
        self._progress, self._stop, self._done = progress, stop, 0
        self.done(0, "")

    def done(self, n_bytes: int, title: str) -> None:
        self._done += n_bytes
        self._progress(self._done, self._total, title)
        raise_if_stopped(self._stop)


def _documents(manifests: Manifests, steps: _Steps) -> Iterator[tuple[StoredDocument, list[StoredTokens]]]:
    """Yields the documents of the stores with their rows, each marked if it duplicates any earlier one."""
    before = Duplicates()
    for folder in manifests:
        store = TokenStore(folder, verified=True)
        for document, text in zip(store.documents(), store.texts, strict=True):
            duplicate = duplicate_of(document, before)
            yield replace(document, duplicate=str(duplicate) if duplicate else None), text.parts
            steps.done(document.bytes, document.title)


def _verify(manifests: Manifests, texts: bool, steps: _Steps) -> None:
    """Verifies every store, and with `texts` that every document's tokens reproduce its text."""
    for folder in manifests:
        store = TokenStore(folder, lambda n_bytes, name: steps.done(n_bytes, f"verifying: {name}"))
        if texts and (damage := Damage((), tuple(damaged_documents(store, steps.done)))):
            raise DataError(f"{folder} is damaged in {damage}; tokenize it again")


def _corpus_of(manifests: Manifests) -> str:
    """Returns the digest of the corpora's locations; for the shards of one corpus, that of the whole."""
    (first, *others) = manifests.values()
    if first.shard is not None and all(each.corpus == first.corpus for each in others):
        return first.corpus
    return digest_of_json([each.corpus for each in manifests.values()])


def _require_distinct(folders: list[Path], place: Path) -> None:
    if not folders:
        raise UsageError("no store was given; name those to merge")
    seen: set[Path] = set()
    for folder in folders:
        real = folder.resolve()
        if real in seen:
            raise UsageError(f"{folder} is named twice; name each store once")
        if real == place:
            raise UsageError(f"{folder} would be replaced by what it is merged into; give another folder with -o")
        seen.add(real)


def _require_one_tokenizer(manifests: Manifests) -> None:
    first, *others = manifests
    for folder in others:
        if manifests[folder].tokenizer.fingerprint != manifests[first].tokenizer.fingerprint:
            raise DataError(
                f"{folder} and {first} have different tokenizers; tokenize one of them again with "
                "the --tokenizer of the other"
            )


def _listed(folders: Manifests) -> str:
    return ", ".join(map(str, folders))


_LISTED = 10  # missing shards in an error


def in_order(manifests: dict[Path, Manifest]) -> dict[Path, Manifest]:
    """Returns the manifests of stores, by folder, in the given order; shards are sorted by number.

    Raises:
        UsageError: a shard is missing or given twice, some stores are not shards, or the shards do not belong together.
    """
    shards = {folder: shard for folder, manifest in manifests.items() if (shard := manifest.shard)}
    if not shards:
        return manifests
    for folder in manifests:
        if folder not in shards:
            raise UsageError(
                f"{next(iter(shards))} is a shard and {folder} is not; merge the shards of a corpus first, then "
                "the result with other stores"
            )
    _require_one_corpus(shards)
    _require_each_once(shards)
    return {folder: manifests[folder] for folder in sorted(shards, key=lambda folder: shards[folder].number)}


def _require_one_corpus(shards: dict[Path, Shard]) -> None:
    (first, whole), *others = shards.items()
    for folder, shard in others:
        if shard.count != whole.count:
            raise UsageError(f"{first} is {whole} and {folder} is {shard}; give shards of the same count")
        if shard.corpus != whole.corpus:
            raise UsageError(
                f"{first} and {folder} are not of the same corpus, or its files changed in between; "
                "tokenize all shards again"
            )


def _require_each_once(shards: dict[Path, Shard]) -> None:
    by_number: dict[int, Path] = {}
    for folder, shard in shards.items():
        if shard.number in by_number:
            raise UsageError(f"{by_number[shard.number]} and {folder} both are {shard}; give each shard once")
        by_number[shard.number] = folder
    count = next(iter(shards.values())).count
    missing = [f"{number}/{count}" for number in range(1, count + 1) if number not in by_number]
    if missing:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise UsageError(
            f"of {count} shards {len(missing)} are missing: {', '.join(missing[:_LISTED])}{more}; "
            f"make them with `revlm tokenize CORPUS --shard {missing[0]}`, or name them as well"
        )
