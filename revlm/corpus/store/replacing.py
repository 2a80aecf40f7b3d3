"""Which corpus a token store is of, so that a store is not replaced by that of another one unasked."""

import os
from pathlib import Path

from revlm.corpus.reading.corpus_files import Shard
from revlm.corpus.reading.hub.address import PREFIX
from revlm.corpus.reading.store_folder import is_store
from revlm.corpus.store.token_store import StoreFolder
from revlm.errors import DataError, StorageError
from revlm.storage import digest_of_json

_STANDARD_INPUT = "-"


def corpus_digest(corpus: Path | str, identity: str, *, split: str | None, config: str | None) -> str:
    """Returns the digest of where a corpus is read from: its path as links resolve, or its address in the hub.

    Texts may be added there and it stays the same corpus; elsewhere the same texts are another one. What standard input
    holds has no place, and is the same corpus where its `identity` is.
    """
    if str(corpus).startswith(PREFIX):
        return digest_of_json([str(corpus), config, split or "train"])
    return digest_of_json(identity if str(corpus) == _STANDARD_INPUT else os.path.realpath(corpus))


def require_same_corpus(place: Path, corpus: str, shard: Shard | None, *, replace: bool) -> None:
    """Raises StorageError where a store of another corpus, or of another shard, stands at `place` and is not to go."""
    if replace or not is_store(place):
        return
    try:
        store = StoreFolder(place)
        if store.manifest.corpus == corpus and str(store.shard) == str(shard):
            return
        first = next((document.title for document in store.documents()), None)
    except DataError as error:
        raise StorageError(
            f"{place} holds a token store that cannot be read ({error}): add --replace to replace it, or give another "
            "folder with -o"
        ) from error
    part = f"{store.shard} of " if store.shard else ""
    title = f", the first {first!r}" if first is not None else ""
    raise StorageError(
        f"{place} holds the tokens of {part}another corpus ({store.manifest.documents:,} documents{title}; "
        f"{store.manifest.tokens:,} tokens), which would be lost: add --replace to replace it, or give another folder "
        "with -o"
    )
