"""Identifies the corpus of a token store or tokenizer, so that one of another corpus is replaced only on request."""

import os
from pathlib import Path

from revlm.corpus.reading.corpus_files import Shard
from revlm.corpus.reading.hub.address import PREFIX
from revlm.corpus.reading.store_folder import is_store, open_regular
from revlm.corpus.store.token_store import StoreFolder
from revlm.corpus.tokenizing.tokenizer import SentencePieceTokenizer, Tokenizer
from revlm.errors import DataError, StorageError
from revlm.storage import digest_of_json, read_sealed, replace_file, sealed_json

_STANDARD_INPUT = "-"
_CORPUS = "corpus.json"  # beside a tokenizer that was trained for itself
_RECORD_BYTES = 1 << 12


def corpus_digest(corpus: Path | str, identity: str, *, split: str | None, config: str | None) -> str:
    """Returns the digest of a corpus's location: its resolved path, or its address on the hub.

    A corpus stays the same when texts are added; the same texts in another location are another corpus. Standard input
    has no location and is identified by its `identity`.
    """
    if str(corpus).startswith(PREFIX):
        return digest_of_json([str(corpus), config, split or "train"])
    return digest_of_json(identity if str(corpus) == _STANDARD_INPUT else os.path.realpath(corpus))


def require_same_corpus(place: Path, corpus: str, shard: Shard | None, *, replace: bool) -> None:
    """Raises StorageError where `place` holds a store of another corpus or shard and `replace` is false."""
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


def save_tokenizer(tokenizer: Tokenizer, folder: Path, corpus: str) -> None:
    """Writes a tokenizer into `folder`, and the digest of the corpus that it was trained on."""
    tokenizer.save(folder)
    replace_file(folder / _CORPUS, sealed_json({"corpus": corpus}))


def tokenizer_files(folder: Path) -> list[str] | None:
    """Returns the names of the files that `save_tokenizer` writes; None where there is no tokenizer."""
    tokenizer = SentencePieceTokenizer.file_name
    return [tokenizer, _CORPUS] if (folder / tokenizer).is_file() else None


def require_tokenizer_of_same_corpus(place: Path, corpus: str, *, replace: bool) -> None:
    """Raises StorageError where `place` holds the tokenizer of another corpus and `replace` is false.

    A tokenizer of an unknown corpus, because it was copied there or its record is damaged, counts as another corpus's.
    """
    if replace or tokenizer_files(place) is None:
        return
    try:
        with open_regular(place / _CORPUS) as file:
            of_corpus = read_sealed(file.read(_RECORD_BYTES)).get("corpus")
    except (OSError, ValueError):
        of_corpus = None
    if of_corpus != corpus:
        of = "another corpus" if of_corpus else "a corpus that is not known"
        raise StorageError(
            f"{place} holds the tokenizer of {of}, which would be lost: add --replace to replace it, or give another "
            "folder with -o"
        )
