"""What a store that was just written holds."""

from dataclasses import dataclass
from pathlib import Path

from revlm.corpus.cleaning import Cleaning
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.store import TokenStore


@dataclass(frozen=True)
class StoreSummary:
    """What is in a store, and the seconds that it took; `cleaning` adds up what was removed from all its texts.

    `duplicates` names documents whose text, or nearly so, is that of an earlier one, each with which.
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


def summarize(folder: Path, seconds: float) -> StoreSummary:
    """Returns the summary of the store in `folder`."""
    store = TokenStore(folder)
    manifest = store.manifest
    return StoreSummary(
        output_dir=folder,
        documents=len(store),
        tokens=manifest["tokens"],
        bytes=manifest["bytes"],
        cleaning=store.cleaning,
        skipped=tuple(store.skipped()),
        duplicates=tuple((each.source, each.duplicate) for each in store.documents() if each.duplicate),
        tokenizer=store.tokenizer.kind,
        vocab_size=store.tokenizer.vocab_size,
        seconds=seconds,
    )
