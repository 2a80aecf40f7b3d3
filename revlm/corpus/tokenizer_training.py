"""A tokenizer trained on a sample of a corpus: for one store, or written down for the shards that are to share it."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from revlm.corpus.reading.events import START, Dropped, Event
from revlm.corpus.reading.readers.raw import TEXT_COLUMN
from revlm.corpus.reading.refusing import OnError, Skipped
from revlm.corpus.reading.sources import Source, open_source
from revlm.corpus.reading.watch import Progress, Stop, Watch
from revlm.corpus.sampling import sample_passages
from revlm.corpus.sentencepiece_training import train_sentencepiece
from revlm.corpus.store_folder import is_store
from revlm.corpus.tokenizer import SentencePieceTokenizer, Tokenizer
from revlm.corpus.unfinished import unfinished_store
from revlm.errors import DataError, StorageError
from revlm.limits import DEFAULT_LIMITS, Limits

_LISTED = 3  # reasons in an error


@dataclass(frozen=True)
class TokenizerSummary:
    """Where a trained tokenizer lies, and what `--tokenizer` takes."""

    output_dir: Path
    tokenizer: str
    vocab_size: int
    fingerprint: str
    seconds: float


def write_tokenizer(
    corpus: Path | str,
    output_dir: Path | str,
    *,
    vocab_size: int = 2048,
    errors: OnError = "strict",
    text_column: str = TEXT_COLUMN,
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    split: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    progress: Progress = lambda done, total, title: None,
    message: Callable[[str], object] = lambda text: None,
    stop: Stop = lambda: None,
) -> TokenizerSummary:
    """Writes the tokenizer that `tokenize_corpus` would train on `corpus` to a folder that holds nothing else.

    The arguments are those of `tokenize_corpus`; a tokenizer that stands there is replaced.

    Raises:
        UsageError: `vocab_size` does not fit the corpus.
        DataError: nothing to read, or a file that `errors` does not allow.
        StorageError: it cannot be written, or something else stands there.
        Interrupted: `stop` asked for it.
    """
    began = time.perf_counter()
    place = Path(os.path.realpath(output_dir))
    source = open_source(
        corpus,
        errors=errors,
        text_column=text_column,
        split=split,
        revision=revision,
        config=config,
        follow_links=follow_links,
        limits=limits,
        stop=stop,
    )
    if is_store(place):
        raise StorageError(f"{place} is a token store; give another folder for the tokenizer with -o")
    plan = {"only_tokenizer": vocab_size}
    with unfinished_store(place, plan, resume=False, message=message, may_replace=_holds_only_a_tokenizer) as work:
        watch = Watch(source.total_bytes, 1, progress, stop)
        tokenizer = train_on(watch.over(source.events(START)), vocab_size, source)
        work.finish(place, tokenizer.save)
    seconds = time.perf_counter() - began
    return TokenizerSummary(Path(output_dir), tokenizer.kind, tokenizer.vocab_size, tokenizer.fingerprint, seconds)


def train_on(events: Iterator[Event], vocab_size: int, source: Source) -> Tokenizer:
    """Returns a tokenizer trained on a sample of the documents in the events of `source`; reads them all."""
    skipped: list[Skipped] = []
    passages = sample_passages(_noting(skipped, events))
    if not passages:
        raise nothing_left(source, skipped)
    return train_sentencepiece(passages, vocab_size=vocab_size)


def nothing_left(source: Source, skipped: Iterable[Skipped]) -> DataError:
    """Returns the error that says so, with the first reasons."""
    listed = "; ".join(f"{each.path}: {each.reason}" for each in islice(chain(source.skipped, skipped), _LISTED))
    return DataError(f"no text is left in {source.name} ({listed}); give a corpus with text in it")


def _noting(skipped: list[Skipped], events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Dropped) and len(skipped) < _LISTED:
            skipped.append(event.skipped)
        yield event


def _holds_only_a_tokenizer(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == [SentencePieceTokenizer.file_name]
