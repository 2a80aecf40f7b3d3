"""Joins token stores: the shards of one corpus into the store of the whole, byte for byte, or whole stores into one.

Every store is verified before a row of any is written, since what is written is signed anew. Then rows stream from the
mapped files of one store after the other. Duplicates are found anew among all documents, by the
sketches in `documents.jsonl`; no text is read again. What a corpus passed over is in its first shard
(`CorpusFiles.shard`), so the lists of what was skipped are joined as they are.
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
from revlm.corpus.store.token_store import StoredDocument, StoreFolder, TokenStore
from revlm.corpus.store.unfinished import unfinished_store
from revlm.corpus.store.writer import Tokens, write_store
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
    """Writes one store of all the documents of `stores` to `output_dir` and says what is in it.

    All shards of a corpus, in any order, give the store that tokenizing the whole with their tokenizer would have
    written. Stores that are no shards are joined in the order given.

    Args:
        stores: folders of token stores; they stay as they are.
        output_dir: the store; one of the same corpora that stands there is replaced when the new one is whole.
        deduplicate: leaves out documents whose text, or nearly so, is that of an earlier one, instead of naming them.
        verify: compares every document's text with its sha256 first, too, not only every file.
        replace: replaces a store of another corpus, too.
        progress: called with bytes done, bytes in all (those of the files and of the texts, which `verify` reads once
            more) and a title.
        message: called with a sentence that the user should see.
        stop: asked between documents and files; once it names what asks for it, the work stops.

    Raises:
        UsageError: a shard is missing or given twice, or the stores do not belong together.
        DataError: a store is missing or damaged, the tokenizers differ, or no document is in any store.
        StorageError: the merged store cannot be written, or another one stands there.
        Interrupted: `stop` asked for it; the same call begins again.
    """
    began = time.perf_counter()
    place = Path(os.path.realpath(output_dir))
    _require_apart([Path(folder) for folder in stores], place)
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
    """Shows how far the work is, and raises Interrupted when it is asked to stop."""

    def __init__(self, manifests: Manifests, verify: bool, progress: Progress, stop: Stop) -> None:
        self._total = sum(each.file_bytes + (1 + verify) * each.bytes for each in manifests.values())
        self._progress, self._stop, self._done = progress, stop, 0
        self.done(0, "")

    def done(self, n_bytes: int, title: str) -> None:
        self._done += n_bytes
        self._progress(self._done, self._total, title)
        raise_if_stopped(self._stop)


def _documents(manifests: Manifests, steps: _Steps) -> Iterator[tuple[StoredDocument, list[Tokens]]]:
    """Yields the documents of the stores with their rows; each names the one, of all before it, that it repeats."""
    before = Duplicates()
    for folder in manifests:
        store = TokenStore(folder, verified=True)
        for document, text in zip(store.documents(), store.texts, strict=True):
            duplicate = duplicate_of(document, before)
            yield replace(document, duplicate=str(duplicate) if duplicate else None), text.parts
            steps.done(document.bytes, document.title)


def _verify(manifests: Manifests, texts: bool, steps: _Steps) -> None:
    """Verifies every store, and with `texts` that every document's tokens give its text."""
    for folder in manifests:
        store = TokenStore(folder, lambda n_bytes, name: steps.done(n_bytes, f"verifying: {name}"))
        if texts and (damage := Damage((), tuple(damaged_documents(store, steps.done)))):
            raise DataError(f"{folder} is damaged in {damage}; tokenize it again")


def _corpus_of(manifests: Manifests) -> str:
    """Returns the digest of where the texts were read from: for the shards of one corpus, that of the whole."""
    (first, *others) = manifests.values()
    if first.shard is not None and all(each.corpus == first.corpus for each in others):
        return first.corpus
    return digest_of_json([each.corpus for each in manifests.values()])


def _require_apart(folders: list[Path], place: Path) -> None:
    if not folders:
        raise UsageError("no store was named; give those to merge")
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
    """Returns the manifests of stores, by folder, in the order of the corpus: as given, unless they are shards.

    Raises:
        UsageError: a shard is missing or there twice, not all are shards, or not of one corpus and division.
    """
    shards = {folder: shard for folder, manifest in manifests.items() if (shard := manifest.shard)}
    if not shards:
        return manifests
    for folder in manifests:
        if folder not in shards:
            raise UsageError(
                f"{next(iter(shards))} is a shard and {folder} is none; merge the shards of a corpus, and then "
                "what they gave with other stores"
            )
    _require_one_corpus(shards)
    _require_each_once(shards)
    return {folder: manifests[folder] for folder in sorted(shards, key=lambda folder: shards[folder].number)}


def _require_one_corpus(shards: dict[Path, Shard]) -> None:
    (first, whole), *others = shards.items()
    for folder, shard in others:
        if shard.count != whole.count:
            raise UsageError(f"{first} is {whole} and {folder} is {shard}; give shards of one division")
        if shard.corpus != whole.corpus:
            raise UsageError(
                f"{first} and {folder} are not of one corpus, or its files changed between them; "
                "tokenize all shards of one corpus as it is now"
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
