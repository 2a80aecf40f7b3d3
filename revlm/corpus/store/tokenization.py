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
from revlm.corpus.tokenizing.encoding import Encoded, chunks, encode_stream
from revlm.corpus.tokenizing.tokenizer import BinaryTokenizer, ByteTokenizer, PixelTokenizer, Tokenizer
from revlm.corpus.tokenizing.training import TokenizerTraining, nothing_left
from revlm.errors import UsageError
from revlm.launch import usable_cores
from revlm.limits import DEFAULT_LIMITS, Limits
from revlm.pictures import AS_THEY_ARE, LONGEST_SIDE, PictureShape
from revlm.storage import require_free_space

# Starting a worker process takes about half a second, in which another encodes this much.
_WORKER_BYTES = 1 << 22


def tokenize_corpus(
    corpus: Path | str,
    output_dir: Path | str,
    *,
    tokenizer: Path | str | None = None,
    binary: bool = False,
    size: int | None = None,
    grey: bool = False,
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
    """Writes the token store of `corpus` to `output_dir` and returns its summary.

    The same corpus and options give the same bytes, for any number of workers and however often the work was killed and
    resumed.

    Args:
        corpus: a folder, a pattern such as `books/**/*.txt`, or one file, of any format that has a reader; `-`,
            standard input; or `hf:owner/name`, a dataset on the hub.
        output_dir: the store; an existing store of the same corpus is replaced once the new one is complete.
        tokenizer: "bytes", a SentencePiece model, a folder that holds a tokenizer, or None to train one on a sample
            of the corpus.
        binary: with the tokenizer "bytes", a document is the bytes of a file of any format.
        size, grey: with the tokenizer "pixels", the pixels of both sides that pictures are scaled and cropped to, and
            whether colours become grey.
        vocab_size: the size of a trained tokenizer; None for 2,048.
        character_coverage: the share of the text whose characters get ids in a trained tokenizer; rarer ones are
            stored as bytes. None for 0.9995, or less where these characters do not fit the default vocabulary.
        errors: "strict" stops at a file or text that cannot be used, "skip" lists it and continues.
        text_column: the text column in files of rows; a dotted path names a field of a struct or object.
        follow_links: also follows links that lead out of the corpus.
        limits: the limits of one file.
        split, revision, config: those of a dataset on the hub.
        deduplicate: skips exact and near duplicates of earlier documents, instead of only reporting them.
        workers: encoding processes; None for one per core, fewer for a small corpus.
        resume: resumes the same work where it was killed or stopped.
        replace: also replaces a store of another corpus.
        progress: called with bytes done, total bytes (twice the corpus where a tokenizer is trained; None where
            unknown) and a title.
        message: called with sentences for the user.
        stop: polled throughout; once it returns a name, the work stops and can be resumed.
        row_tokens: the most tokens in one row; a longer document takes several.
        shard: tokenizes only this shard of the files (its number from 1, the number of shards), for `merge_stores`; the
            store is written even if it has no text.

    Raises:
        UsageError: `vocab_size` or `character_coverage` does not fit the corpus, there is no such shard, or a shard
            does not allow these options.
        DataError: there is nothing to read, a file that `errors` does not allow, or a text that its tokens do not
            reproduce.
        ResourceError: a worker process was killed.
        StorageError: the store cannot be written, another process writes it, or it would replace one of another corpus.
        Interrupted: `stop` requested it; the same call resumes.
    """
    began = time.perf_counter()
    place = Path(os.path.realpath(output_dir))
    training = TokenizerTraining(vocab_size, character_coverage)
    if tokenizer is not None and character_coverage is not None:
        raise UsageError(
            "--character-coverage applies to training a tokenizer, --tokenizer to a given one; leave out one of the two"
        )
    if shard is not None:
        _require_independence(tokenizer, deduplicate)
    given = _given_tokenizer(tokenizer, PictureShape(size, grey), binary=binary)
    source = open_source(
        corpus,
        kind=given.document_kind if given else "text",
        pictures=given.pictures if given else AS_THEY_ARE,
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
                message(f"resuming after {spool.read_bytes:,} bytes of the corpus")
            watch.resume_after(spool.read_bytes)
            pieces = recut(source.events(spool.after), partial(chunks, chosen))
            with closing(encode_stream(pieces, chosen, workers or _worker_count(source.total_bytes))) as events:
                _spool(events, spool, checker, watch, message)
            if next(spool.documents(row_tokens), None) is None:
                if source.shard is None:
                    raise nothing_left(source, spool.skipped())
                message(f"{source.shard} has no text; its empty store is written for the merge")
            work.finish(place, partial(_write, spool, chosen, source, place_of_corpus, row_tokens, deduplicate))
    return summarize(Path(output_dir), time.perf_counter() - began)


def _given_tokenizer(choice: Path | str | None, pictures: PictureShape, *, binary: bool) -> Tokenizer | None:
    """Returns the tokenizer that the user names; one of a store or run also says what a document is."""
    if str(choice) == PixelTokenizer.kind:
        if binary:
            raise UsageError("--binary reads files as bytes and --tokenizer pixels reads pictures: leave one out")
        if not 1 <= (pictures.size or 1) <= LONGEST_SIDE:
            raise UsageError(f"--size {pictures.size} is not a number of pixels: give one from 1 to {LONGEST_SIDE:,}")
        return PixelTokenizer(pictures)
    if pictures != AS_THEY_ARE:
        raise UsageError(
            "--size and --grey apply to --tokenizer pixels, and a given tokenizer has its own: leave them out"
        )
    if not binary:
        return None if choice is None else open_tokenizer(choice)
    if choice is None:
        raise UsageError("--binary reads files as bytes, which no trained tokenizer encodes: give --tokenizer bytes")
    given = open_tokenizer(BinaryTokenizer.kind if str(choice) == ByteTokenizer.kind else choice)
    if given.document_kind != "binary":
        raise UsageError(f"--binary reads files as bytes, and the tokenizer {choice} is for texts: give it as bytes")
    return given


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
    """Returns one worker per core, but no more than the corpus keeps busy for longer than they take to start."""
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
