"""From a corpus to a token store: read, train a tokenizer where none is given, encode, check, write."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path

from revlm.corpus.reading.events import START, Dropped, Ended, recut
from revlm.corpus.reading.readers.raw import TEXT_COLUMN
from revlm.corpus.reading.refusing import OnError
from revlm.corpus.reading.sources import Source, open_source
from revlm.corpus.reading.watch import Progress, Stop, Watch
from revlm.corpus.store.checking import DocumentChecker
from revlm.corpus.store.contents import StoreSummary, summarize
from revlm.corpus.store.manifest import FORMAT_VERSION
from revlm.corpus.store.replacing import corpus_digest, require_same_corpus
from revlm.corpus.store.spool import Outcome, Spool
from revlm.corpus.store.token_store import StoredDocument, open_tokenizer
from revlm.corpus.store.unfinished import unfinished_store
from revlm.corpus.store.writer import ROW_TOKENS, write_store
from revlm.corpus.tokenizing.encoding import Encoded, blocks, encode_stream
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.corpus.tokenizing.training import TokenizerTraining, nothing_left
from revlm.errors import UsageError
from revlm.launch import usable_cores
from revlm.limits import DEFAULT_LIMITS, Limits
from revlm.storage import require_free_space

# A worker process takes about half a second to start, in which another encodes this much.
_WORKER_BYTES = 1 << 22


def tokenize_corpus(
    corpus: Path | str,
    output_dir: Path | str,
    *,
    tokenizer: Path | str | None = None,
    vocab_size: int | None = None,
    character_coverage: float | None = None,
    errors: OnError = "strict",
    text_column: str = TEXT_COLUMN,
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    split: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    deduplicate: bool = False,
    workers: int | None = None,
    resume: bool = True,
    replace: bool = False,
    progress: Progress = lambda done, total, title: None,
    message: Callable[[str], object] = lambda text: None,
    stop: Stop = lambda: None,
    row_tokens: int = ROW_TOKENS,
    shard: tuple[int, int] | None = None,
) -> StoreSummary:
    """Writes the token store of `corpus` to `output_dir` and says what is in it.

    The same corpus and options give the same bytes, whatever the number of workers and however often the work was
    killed on the way and begun again.

    Args:
        corpus: a folder, a pattern such as `books/**/*.txt`, or one file, of any format that has a reader; `-`,
            standard input; or `hf:owner/name`, a dataset of the hub.
        output_dir: the store; one of the same corpus that stands there is replaced when the new one is whole.
        tokenizer: "bytes", a SentencePiece model, a folder that holds a tokenizer, or None to train one on a sample
            of the corpus.
        vocab_size: the size of a trained tokenizer; None for 2,048.
        character_coverage: the share of the text whose characters get ids in a trained tokenizer; rarer ones are
            stored as their bytes. None for 0.9995, or less where so many do not fit the default vocabulary.
        errors: "strict" stops at a file or text that cannot be used, "skip" lists it and goes on.
        text_column: the column of the text in files of rows; a dot leads into a column of columns.
        follow_links: also reads what links in the corpus lead to outside of it.
        limits: what one file may take before it cannot be used.
        split, revision, config: of a dataset of the hub.
        deduplicate: leaves out documents whose text, or nearly so, is that of an earlier one, instead of naming them.
        workers: processes that encode; None for one a core, fewer for a small corpus.
        resume: goes on with the same work where it was killed or stopped.
        replace: replaces a store of another corpus, too.
        progress: called with bytes done, bytes in all (twice the corpus where a tokenizer is trained; None where it is
            not known) and a title.
        message: called with a sentence that the user should see.
        stop: asked all along; once it names what asks for it, the work stops where it can go on.
        row_tokens: the most tokens one row holds; a longer document takes several.
        shard: takes only this part of the files, from 1, of how many, for `merge_stores`; it is written even where it
            has no text.

    Raises:
        UsageError: `vocab_size` or `character_coverage` does not fit the corpus, or a shard cannot be had, or not with
            these options.
        DataError: nothing to read, a file that `errors` does not allow, or a text that decodes to something else.
        ResourceError: a worker process was killed.
        StorageError: the store cannot be written, another process writes it, or one of another corpus stands there.
        Interrupted: `stop` asked for it; the same call goes on.
    """
    began = time.perf_counter()
    place = Path(os.path.realpath(output_dir))
    training = TokenizerTraining(vocab_size, character_coverage)
    if tokenizer is not None and character_coverage is not None:
        raise UsageError("--character-coverage is for a tokenizer that is trained; leave it or --tokenizer out")
    if shard is not None:
        _require_independence(tokenizer, deduplicate)
    source = open_source(
        corpus,
        errors=errors,
        text_column=text_column,
        split=split,
        revision=revision,
        config=config,
        shard=shard,
        follow_links=follow_links,
        limits=limits,
        stop=stop,
    )
    place_of_corpus = corpus_digest(corpus, source.identity, split=split, config=config)
    require_same_corpus(place, place_of_corpus, source.shard, replace=replace)
    given = None if tokenizer is None else open_tokenizer(tokenizer)
    plan = {
        "format": FORMAT_VERSION,
        "corpus": source.identity,
        "tokenizer": given.fingerprint if given else training.identity,
        "errors": errors,
        "text_column": text_column,
        "limits": asdict(limits),
        "deduplicate": deduplicate,
        "row_tokens": row_tokens,
        "shard": asdict(source.shard) if source.shard else None,
    }
    watch = Watch(source.total_bytes, 1 if given else 2, progress, stop)
    checker = DocumentChecker(errors=errors, row_tokens=row_tokens)
    with unfinished_store(place, plan, resume=resume, message=message) as work:
        chosen = given or work.tokenizer(lambda: training.on(watch.over(source.events(START)), source, message))
        with work.spool(chosen) as spool:
            for outcome in spool.outcomes():
                if isinstance(outcome.result, StoredDocument):
                    checker.remember(outcome.result)
            if spool.read_bytes:
                message(f"going on after {spool.read_bytes:,} bytes of the corpus")
            watch.go_on_after(spool.read_bytes)
            pieces = recut(source.events(spool.after), partial(blocks, chosen))
            with closing(encode_stream(pieces, chosen, workers or _worker_count(source.total_bytes))) as events:
                _spool(events, spool, checker, watch, message)
            if next(spool.documents(row_tokens), None) is None:
                if source.shard is None:
                    raise nothing_left(source, spool.skipped())
                message(f"{source.shard} has no text in it, and is written without any, to be merged")
            work.finish(place, partial(_write, spool, chosen, source, place_of_corpus, row_tokens, deduplicate))
    return summarize(Path(output_dir), time.perf_counter() - began)


def _require_independence(tokenizer: Path | str | None, deduplicate: bool) -> None:
    """Raises UsageError where a shard would depend on others."""
    if tokenizer is None:
        raise UsageError(
            "a shard needs the tokenizer that all shards share: make one with `revlm tokenize CORPUS --only-tokenizer "
            "-o DIR` and give it with --tokenizer DIR, or give --tokenizer bytes"
        )
    if deduplicate:
        raise UsageError(
            "a shard cannot see the texts of the others: leave --deduplicate out, and give it to `revlm data merge`"
        )


def _worker_count(corpus_bytes: int | None) -> int:
    """One a core, but none that takes longer to start than to do its share."""
    cores = usable_cores()
    return cores if corpus_bytes is None else max(1, min(cores, corpus_bytes // _WORKER_BYTES))


def _spool(
    events: Iterable[Encoded | Ended | Dropped],
    spool: Spool,
    checker: DocumentChecker,
    watch: Watch,
    message: Callable[[str], object],
) -> None:
    for event in events:
        if isinstance(event, Encoded):
            spool.write(event.ids)
            checker.add(event)
            watch.saw(event.piece)
        else:
            if isinstance(event, Ended):
                for warning in event.warnings:
                    message(f"{event.source}: {warning}; --show-removed shows what is removed")
            spool.end(Outcome(event.position, event.read_bytes, checker.end(event)))
            watch.saw(event)
    spool.commit()


def _write(
    spool: Spool, tokenizer: Tokenizer, source: Source, corpus: str, row_tokens: int, deduplicate: bool, folder: Path
) -> None:
    require_free_space(folder, spool.token_bytes, "the token store", "give another folder with -o")
    documents, skipped = spool.documents(row_tokens), chain(source.skipped, spool.skipped())
    write_store(folder, tokenizer, documents, skipped, corpus=corpus, deduplicate=deduplicate, shard=source.shard)
