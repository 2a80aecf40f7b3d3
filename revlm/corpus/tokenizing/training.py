"""Trains a tokenizer on a sample of a corpus, for one store or as a file that several shards share.

Every passage of every document has the same chance to be sampled. Passages are numbered, each is assigned a hash of
(seed, number), and those with the lowest hashes are kept, as many as fit: a bottom-k sketch, which samples a stream of
unknown length and depends only on the corpus. A corpus of up to `SAMPLE_BYTES` is its own sample.
"""

import hashlib
import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Unpack

from revlm.corpus.reading.cleaning import utf8_length
from revlm.corpus.reading.events import START, Dropped, Ended, Event, Piece, recut
from revlm.corpus.reading.options import ReadOptions
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.reading.sources import Source, open_source
from revlm.corpus.reading.store_folder import is_store
from revlm.corpus.reading.watch import Progress, Stop, Watch
from revlm.corpus.store.replacing import (
    corpus_digest,
    require_tokenizer_of_same_corpus,
    save_tokenizer,
    tokenizer_files,
)
from revlm.corpus.store.unfinished import unfinished_store
from revlm.corpus.tokenizing.cutting import Cuts
from revlm.corpus.tokenizing.sentencepiece_training import IDS_OF_NO_CHARACTER, train_sentencepiece
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.errors import DataError, StorageError, UsageError

# SentencePiece needs about ten times this in memory.
SAMPLE_BYTES = 1 << 25
PASSAGE_CHARACTERS = 1 << 13
_LISTED = 3  # reasons listed in an error


@dataclass(frozen=True)
class TokenizerSummary:
    """A trained tokenizer: its folder, kind, size, fingerprint, and the seconds that training took."""

    output_dir: Path
    tokenizer: str
    vocab_size: int
    fingerprint: str
    seconds: float


def write_tokenizer(
    corpus: Path | str,
    output_dir: Path | str,
    *,
    vocab_size: int | None = None,
    character_coverage: float | None = None,
    replace: bool = False,
    progress: Progress = lambda done, total, title: None,
    message: Callable[[str], object] = lambda text: None,
    stop: Stop = lambda: None,
    **reading: Unpack[ReadOptions],
) -> TokenizerSummary:
    """Writes the tokenizer that `tokenize_corpus` would train on `corpus` to a folder of its own; returns its summary.

    The arguments are those of `tokenize_corpus`; an existing tokenizer of the same corpus is replaced.

    Raises:
        UsageError: `vocab_size` or `character_coverage` does not fit the corpus.
        DataError: there is nothing to read, or a file that `errors` does not allow.
        StorageError: it cannot be written, or the folder holds something else, such as the tokenizer of another corpus.
        Interrupted: `stop` requested it.
    """
    began = time.perf_counter()
    training = TokenizerTraining(vocab_size, character_coverage)
    place = Path(os.path.realpath(output_dir))
    source = open_source(corpus, **reading, stop=stop)
    if is_store(place):
        raise StorageError(f"{place} is a token store; give another folder for the tokenizer with -o")
    place_of_corpus = corpus_digest(corpus, source.identity, split=reading.get("split"), config=reading.get("config"))
    require_tokenizer_of_same_corpus(place, place_of_corpus, replace=replace)
    plan = {"only_tokenizer": training.identity}
    with unfinished_store(place, plan, resume=False, message=message, ours=tokenizer_files) as work:
        watch = Watch(source.total_bytes, 1, progress, stop)
        tokenizer = training.on(watch.over(source.events(START)), source, message)
        work.finish(place, lambda folder: save_tokenizer(tokenizer, folder, place_of_corpus))
    seconds = time.perf_counter() - began
    return TokenizerSummary(Path(output_dir), tokenizer.kind, tokenizer.vocab_size, tokenizer.fingerprint, seconds)


@dataclass(frozen=True)
class TokenizerTraining:
    """The options for training a tokenizer; None for those that were not given.

    Raises:
        UsageError: no corpus fits them.
    """

    vocab_size: int | None = None
    character_coverage: float | None = None

    def __post_init__(self) -> None:
        if self.vocab_size is not None and self.vocab_size <= IDS_OF_NO_CHARACTER:
            raise UsageError(
                f"--vocab-size {self.vocab_size} is too small for the 256 bytes, the unknown and the begin token, the "
                f"newline and a character: the smallest that works is above {IDS_OF_NO_CHARACTER}"
            )
        if self.character_coverage is not None and not 0 < self.character_coverage <= 1:
            raise UsageError(
                f"--character-coverage {self.character_coverage} is not a share of the characters; give a number above "
                "0 and up to 1, such as 0.9995"
            )

    @property
    def identity(self) -> list[float | None]:
        """The options as a JSON value; equal ones train equal tokenizers on the same corpus."""
        return [self.vocab_size, self.character_coverage]

    def on(
        self, events: Iterator[Event], source: Source, message: Callable[[str], object] = lambda text: None
    ) -> Tokenizer:
        """Returns a tokenizer trained on a sample of the documents in the events of `source`; reads them all."""
        skipped: list[Skipped] = []
        passages = sample_passages(_noting(skipped, events))
        if not passages:
            raise nothing_left(source, skipped)
        return train_sentencepiece(
            passages, vocab_size=self.vocab_size, character_coverage=self.character_coverage, message=message
        )


def nothing_left(source: Source, skipped: Iterable[Skipped]) -> DataError:
    """Returns the error for a source without any usable text, with the first reasons."""
    listed = "; ".join(f"{each.path}: {each.reason}" for each in islice(chain(source.skipped, skipped), _LISTED))
    return DataError(f"no text is left in {source.name} ({listed}); give a corpus with text in it")


def sample_passages(events: Iterable[Event], *, seed: int = 0, sample_bytes: int = SAMPLE_BYTES) -> list[str]:
    """Returns a sample of passages of the documents, in order, at most `sample_bytes` of UTF-8; all if they fit."""
    kept: list[tuple[int, int, int, str]] = []  # a heap, highest drawn number first
    size = document = 0
    documents: set[int] = set()
    for number, event in enumerate(recut(events, _passages)):
        if not isinstance(event, Piece):
            documents |= {document} if isinstance(event, Ended) else set()
            document += 1
            continue
        assert isinstance(event.text, str)
        drawn = int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest())
        heapq.heappush(kept, (-drawn, number, document, event.text))
        size += utf8_length(event.text)
        while size > sample_bytes:
            size -= utf8_length(heapq.heappop(kept)[3])
    return [text for _, number, document, text in sorted(kept, key=lambda each: each[1]) if document in documents]


def _passages(pieces: Iterable[str | bytes]) -> Iterator[str]:
    return Cuts().parts((each for each in pieces if isinstance(each, str)), PASSAGE_CHARACTERS, PASSAGE_CHARACTERS)


def _noting(skipped: list[Skipped], events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Dropped) and len(skipped) < _LISTED:
            skipped.append(event.skipped)
        yield event
