"""From a corpus to a token store: read, train a tokenizer where none is given, encode, check, write."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

from revlm.corpus.cleaning import Cleaning
from revlm.corpus.corpus_files import OnError, Skipped
from revlm.corpus.documents import TEXT_COLUMN
from revlm.corpus.encoding import Encoded, blocks, encode_stream
from revlm.corpus.events import START, Dropped, Ended, Event, Piece, recut
from revlm.corpus.judging import Judge
from revlm.corpus.sampling import sample_passages
from revlm.corpus.sentencepiece_training import train_sentencepiece
from revlm.corpus.sources import Source, open_source
from revlm.corpus.spool import Outcome, Spool
from revlm.corpus.store import FORMAT_VERSION, StoredDocument, TokenStore
from revlm.corpus.store_writer import ROW_TOKENS, StoreWriter
from revlm.corpus.tokenizer import ByteTokenizer, Tokenizer
from revlm.corpus.unfinished import unfinished_store
from revlm.errors import DataError, Interrupted
from revlm.storage import require_free_space

# A worker process takes about half a second to start, in which another encodes this much.
_WORKER_BYTES = 1 << 22
_LISTED = 3  # reasons in an error

Progress = Callable[[int, int | None, str], object]


@dataclass(frozen=True)
class TokenizeSummary:
    """What `tokenize_corpus` made of a corpus; `cleaning` adds up what was removed from all its texts.

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


def tokenize_corpus(
    corpus: Path | str,
    output_dir: Path | str,
    *,
    tokenizer: Path | str | None = None,
    vocab_size: int = 2048,
    errors: OnError = "strict",
    text_column: str = TEXT_COLUMN,
    split: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    deduplicate: bool = False,
    workers: int | None = None,
    resume: bool = True,
    progress: Progress = lambda done, total, title: None,
    message: Callable[[str], object] = lambda text: None,
    stop: Callable[[], str | None] = lambda: None,
    row_tokens: int = ROW_TOKENS,
) -> TokenizeSummary:
    """Writes the token store of `corpus` to `output_dir` and says what is in it.

    The same corpus and options give the same bytes, whatever the number of workers and however often the work was
    killed on the way and begun again.

    Args:
        corpus: a folder, a pattern such as `books/**/*.txt`, or one file, of any format that has a reader; or
            `hf:owner/name`, a dataset of the hub.
        output_dir: the store; an existing store there is replaced when the new one is whole.
        tokenizer: "bytes", a SentencePiece model, a folder that holds a tokenizer, or None to train one on a sample
            of the corpus.
        vocab_size: the size of a trained tokenizer.
        errors: "strict" stops at a file or text that cannot be used, "skip" lists it and goes on.
        text_column: the column of the text in files of rows.
        split, revision, config: of a dataset of the hub.
        deduplicate: leaves out documents whose text, or nearly so, is that of an earlier one, instead of naming them.
        workers: processes that encode; None for one a core, fewer for a small corpus.
        resume: goes on with the same work where it was killed or stopped.
        progress: called with bytes done, bytes in all (twice the corpus where a tokenizer is trained; None where it is
            not known) and a title.
        message: called with a sentence that the user should see.
        stop: asked between blocks of text; once it names what asks for it, the work stops where it can go on.
        row_tokens: the most tokens one row holds; a longer document takes several.

    Raises:
        UsageError: `vocab_size` does not fit the corpus.
        DataError: nothing to read, a file that `errors` does not allow, or a text that decodes to something else.
        ResourceError: a worker process was killed.
        StorageError: the store cannot be written, or another process writes it.
        Interrupted: `stop` asked for it; the same call goes on.
    """
    began = time.perf_counter()
    place = Path(os.path.realpath(output_dir))
    source = open_source(corpus, errors=errors, text_column=text_column, split=split, revision=revision, config=config)
    given = _given_tokenizer(tokenizer)
    plan = {
        "format": FORMAT_VERSION,
        "corpus": source.identity,
        "tokenizer": given.fingerprint if given else vocab_size,
        "errors": errors,
        "text_column": text_column,
        "deduplicate": deduplicate,
        "row_tokens": row_tokens,
    }
    watch = _Watch(source.total_bytes, 1 if given else 2, progress, stop)
    judge = Judge(errors=errors, deduplicate=deduplicate, row_tokens=row_tokens)
    with unfinished_store(place, plan, resume=resume, message=message) as work:
        chosen = given or work.tokenizer(lambda: _train(watch.over(source.events(START)), vocab_size, source))
        with work.spool(chosen) as spool:
            for outcome in spool.outcomes():
                if isinstance(outcome.result, StoredDocument):
                    judge.remember(outcome.result)
            if spool.read_bytes:
                message(f"going on after {spool.read_bytes:,} bytes of the corpus")
            watch.go_on_after(spool.read_bytes)
            pieces = recut(source.events(spool.after), partial(blocks, chosen))
            with closing(encode_stream(pieces, chosen, workers or _worker_count(source.total_bytes))) as events:
                _spool(events, spool, judge, watch)
            if next(spool.documents(row_tokens), None) is None:
                raise _nothing_left(source, spool.skipped())
            work.finish(place, partial(_write_store, spool, chosen, source.skipped, row_tokens))
    return _summary(Path(output_dir), time.perf_counter() - began)


def _given_tokenizer(choice: Path | str | None) -> Tokenizer | None:
    if choice is None:
        return None
    return ByteTokenizer() if str(choice) == ByteTokenizer.kind else Tokenizer.load(choice)


def _worker_count(corpus_bytes: int | None) -> int:
    """One a core, but none that takes longer to start than to do its share."""
    cores = len(os.sched_getaffinity(0))
    return cores if corpus_bytes is None else max(1, min(cores, corpus_bytes // _WORKER_BYTES))


def _train(events: Iterator[Event], vocab_size: int, source: Source) -> Tokenizer:
    skipped: list[Skipped] = []
    passages = sample_passages(_noting(skipped, events))
    if not passages:
        raise _nothing_left(source, skipped)
    return train_sentencepiece(passages, vocab_size=vocab_size)


def _noting(skipped: list[Skipped], events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Dropped) and len(skipped) < _LISTED:
            skipped.append(event.skipped)
        yield event


def _nothing_left(source: Source, skipped: Iterable[Skipped]) -> DataError:
    listed = "; ".join(f"{each.path}: {each.reason}" for each in islice(chain(source.skipped, skipped), _LISTED))
    return DataError(f"no text is left in {source.name} ({listed}); give a corpus with text in it")


def _spool(events: Iterable[Encoded | Ended | Dropped], spool: Spool, judge: Judge, watch: "_Watch") -> None:
    for event in events:
        if isinstance(event, Encoded):
            spool.write(event.ids)
            judge.add(event)
            watch.saw(event.piece)
        else:
            spool.end(Outcome(event.place, event.read_bytes, judge.end(event)))
            watch.saw(event)
    spool.commit()


def _write_store(
    spool: Spool, tokenizer: Tokenizer, skipped: tuple[Skipped, ...], row_tokens: int, folder: Path
) -> None:
    require_free_space(folder, spool.token_bytes, "the token store")
    with StoreWriter(folder, tokenizer) as writer:
        for document, parts in spool.documents(row_tokens):
            writer.add(document, parts)
        writer.finish(chain(skipped, spool.skipped()))


def _summary(folder: Path, seconds: float) -> TokenizeSummary:
    store = TokenStore(folder)
    manifest = store.manifest
    return TokenizeSummary(
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


class _Watch:
    """Shows how far the work is, in bytes over one or two passes of the corpus, and heeds what asks it to stop."""

    def __init__(
        self, corpus_bytes: int | None, passes: int, progress: Progress, stop: Callable[[], str | None]
    ) -> None:
        self._total = None if corpus_bytes is None else passes * corpus_bytes
        self._before_last_pass = (passes - 1) * (corpus_bytes or 0)
        self._progress, self._stop = progress, stop
        self._done = self._within = 0
        progress(0, self._total, "")

    def over(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yields the events of a first pass."""
        for event in events:
            self.saw(event, "vocabulary: ")
            yield event

    def go_on_after(self, read_bytes: int) -> None:
        """Counts the last pass as done up to there."""
        self._done, self._within = self._before_last_pass + read_bytes, 0

    def saw(self, event: Event, prefix: str = "") -> None:
        """Counts an event; raises Interrupted where a stop is asked for."""
        if isinstance(event, Piece):
            self._within += event.read_bytes
        else:
            self._done, self._within = self._done + event.read_bytes, 0
        title = event.skipped.path if isinstance(event, Dropped) else event.title
        self._progress(self._done + self._within, self._total, prefix + title)
        if name := self._stop():
            raise Interrupted(f"stopped by {name}: run the same command again to go on")
