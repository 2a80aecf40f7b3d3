"""Joins token stores: the shards of one corpus into the store of the whole, byte for byte, or whole stores into one.

Rows stream from the mapped files of one store after the other. Duplicates are found anew among all documents, by the
sketches in `documents.jsonl`; no text is read again. What a corpus passed over is in its first shard
(`CorpusFiles.shard`), so the lists of what was skipped are joined as they are.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from revlm.corpus.duplicates import Duplicates
from revlm.corpus.judging import duplicate_of
from revlm.corpus.reading.watch import Progress, Stop, heed
from revlm.corpus.shards import in_order
from revlm.corpus.store import StoredDocument, TokenStore, damaged_files, read_manifest, skipped_in
from revlm.corpus.store_writer import Tokens, write_store
from revlm.corpus.summary import StoreSummary, summarize
from revlm.corpus.tokenizer import Tokenizer
from revlm.corpus.unfinished import unfinished_store
from revlm.errors import DataError, UsageError
from revlm.storage import require_free_space


def merge_stores(
    stores: Sequence[Path | str],
    output_dir: Path | str,
    *,
    deduplicate: bool = False,
    verify: bool = False,
    progress: Progress = lambda done, total, title: None,
    message: Callable[[str], object] = lambda text: None,
    stop: Stop = lambda: None,
) -> StoreSummary:
    """Writes one store of all the documents of `stores` to `output_dir` and says what is in it.

    All shards of a corpus, in any order, give the store that tokenizing the whole with their tokenizer would have
    written. Stores that are no shards are joined in the order given.

    Args:
        stores: folders of token stores; they stay as they are.
        output_dir: the store; an existing store there is replaced when the new one is whole.
        deduplicate: leaves out documents whose text, or nearly so, is that of an earlier one, instead of naming them.
        verify: compares every file with its sha256 first, not only its size.
        progress: called with bytes done, bytes in all (those of the texts, and with `verify` of the files) and a title.
        message: called with a sentence that the user should see.
        stop: asked between documents and files; once it names what asks for it, the work stops.

    Raises:
        UsageError: a shard is missing or given twice, or the stores do not belong together.
        DataError: a store is missing or damaged, the tokenizers differ, or no document is in any store.
        StorageError: the merged store cannot be written.
        Interrupted: `stop` asked for it; the same call begins again.
    """
    began = time.perf_counter()
    place = Path(os.path.realpath(output_dir))
    _require_apart([Path(folder) for folder in stores], place)
    manifests = in_order({Path(folder): read_manifest(folder) for folder in stores})
    _require_one_tokenizer(manifests)
    if not any(manifest["documents"] for manifest in manifests.values()):
        raise DataError(f"no text is left in {_listed(manifests)}; give stores of a corpus with text in it")
    steps = _Steps(manifests, verify, progress, stop)
    if verify:
        _verify(manifests, steps)
    plan = {"merge": [str(folder.resolve()) for folder in manifests], "deduplicate": deduplicate}

    def write(folder: Path) -> None:
        needed_bytes = sum(map(_file_bytes, manifests.values()))
        require_free_space(folder, needed_bytes, "the merged store", "give another folder with -o")
        skipped = chain.from_iterable(map(skipped_in, manifests))
        tokenizer = Tokenizer.load(next(iter(manifests)))
        write_store(folder, tokenizer, _documents(manifests, steps), skipped, deduplicate=deduplicate)

    with unfinished_store(place, plan, resume=True, message=message) as work:
        work.finish(place, write)
    return summarize(Path(output_dir), time.perf_counter() - began)


Manifests = dict[Path, dict[str, Any]]


class _Steps:
    """Shows how far the work is, and heeds what asks it to stop."""

    def __init__(self, manifests: Manifests, verify: bool, progress: Progress, stop: Stop) -> None:
        self._total = sum(each["bytes"] + verify * _file_bytes(each) for each in manifests.values())
        self._progress, self._stop, self._done = progress, stop, 0
        self.done(0, "")

    def done(self, n_bytes: int, title: str) -> None:
        self._done += n_bytes
        self._progress(self._done, self._total, title)
        heed(self._stop)


def _documents(manifests: Manifests, steps: _Steps) -> Iterator[tuple[StoredDocument, list[Tokens]]]:
    """Yields the documents of the stores with their rows; each names the one, of all before it, that it repeats."""
    before = Duplicates()
    for folder in manifests:
        store = TokenStore(folder)
        for document, text in zip_longest(store.documents(), store.texts):
            if document is None or text is None or len(text) != document.tokens:
                raise DataError(f"{folder} is damaged, its rows are not those of its documents; tokenize it again")
            duplicate = duplicate_of(document, before)
            yield replace(document, duplicate=str(duplicate) if duplicate else None), text.parts
            steps.done(document.bytes, document.title)


def _verify(manifests: Manifests, steps: _Steps) -> None:
    damaged = [
        str(folder / name)
        for folder in manifests
        for name in damaged_files(folder, lambda n_bytes, name: steps.done(n_bytes, f"verifying: {name}"))
    ]
    if damaged:
        raise DataError(f"{', '.join(damaged)} changed since it was written; tokenize that store again")


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
        if manifests[folder]["tokenizer"]["fingerprint"] != manifests[first]["tokenizer"]["fingerprint"]:
            raise DataError(
                f"{folder} and {first} have different tokenizers; tokenize one of them again with "
                "the --tokenizer of the other"
            )


def _file_bytes(manifest: dict[str, Any]) -> int:
    return sum(file["bytes"] for file in manifest["files"].values())


def _listed(folders: Manifests) -> str:
    return ", ".join(map(str, folders))
