"""One interface to the texts of a corpus: local files, standard input, or a dataset on the hub."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from revlm.corpus.reading.corpus_files import CorpusFiles, Shard, find_corpus_files
from revlm.corpus.reading.documents import stream_documents
from revlm.corpus.reading.events import START, Dropped, Event, ReadPosition, text_events
from revlm.corpus.reading.hub.address import PREFIX
from revlm.corpus.reading.hub.dataset import HubDataset
from revlm.corpus.reading.readers import DocumentKind, RawText, Reading, printable
from revlm.corpus.reading.readers.raw import TEXT_COLUMN
from revlm.corpus.reading.refusing import OnError, Skipped, left_out
from revlm.corpus.reading.standard_input import STANDARD_INPUT, SpooledInput, spooled_input
from revlm.corpus.reading.watch import Stop, raise_if_stopped
from revlm.errors import UsageError
from revlm.limits import DEFAULT_LIMITS, Limits
from revlm.pictures import AS_THEY_ARE, PictureShape


@dataclass(frozen=True)
class Source:
    """A corpus that can be read repeatedly, from any position.

    Attributes:
        name: its name in messages.
        identity: changes when the texts may have changed.
        total_bytes: the sum of the events' `read_bytes`, None where unknown; approximate for a dataset on the hub.
        skipped: what was skipped while files were searched for.
        events: returns the events after a position.
        shard: which shard of the files it is; None for the whole.
        commit: the commit of a dataset on the hub, otherwise None.
    """

    name: str
    identity: str
    total_bytes: int | None
    skipped: tuple[Skipped, ...]
    events: Callable[[ReadPosition], Iterator[Event]]
    shard: Shard | None = None
    commit: str | None = None


def open_source(
    corpus: Path | str,
    *,
    kind: DocumentKind = "text",
    pictures: PictureShape = AS_THEY_ARE,
    errors: OnError = "strict",
    text_column: str = TEXT_COLUMN,
    split: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    shard: tuple[int, int] | None = None,
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    stop: Stop = lambda: None,
) -> Source:
    """Returns the corpus with a name: a folder, a pattern, a file, `-` for standard input, which is first saved so that
    it can be read again, or `hf:owner/name` for a dataset on the hub.

    `kind` is what a document is, `pictures` what pictures become. `split`, `revision` and `config` apply to a dataset
    on the hub; `shard` is the number of a shard of the files, from 1, and the number of shards. `stop` is polled while
    the corpus is read. See `find_corpus_files` and `Reading` for the others.

    Raises:
        DataError: as `find_corpus_files` and `HubDataset`.
        UsageError: there is no such split, revision, configuration or shard, or the corpus cannot have one.
        Interrupted: `stop` requested it while the corpus was read.
    """
    reading = Reading(text_column, limits, lambda: raise_if_stopped(stop), kind, pictures)
    if str(corpus).startswith(PREFIX):
        if kind != "text":
            raise UsageError(f"{corpus} is a dataset of texts; save its files to a folder to read them otherwise")
        if shard is not None:
            raise UsageError(
                f"shards are made of files and {corpus} is a dataset on the hub; save its files to a folder"
            )
        dataset = HubDataset.parse(str(corpus), split=split or "train", revision=revision, config=config).pinned()
        dataset.require_own_files(follow_links=follow_links)
        return Source(
            name=str(dataset),
            identity=f"{dataset}, {dataset.version}",
            total_bytes=dataset.total_bytes(),
            skipped=(),
            events=partial(_hub_events, dataset, errors, reading),
            commit=dataset.revision,
        )
    for option, value in {"--split": split, "--revision": revision, "--config": config}.items():
        if value is not None:
            raise UsageError(f"{option} applies only to a dataset on the hub, and {corpus} is not one; leave it out")
    if str(corpus) == STANDARD_INPUT:
        return _source_of_input(errors, reading, shard)
    whole = find_corpus_files(corpus, errors=errors, follow_links=follow_links, kind=kind)
    files = whole.shard(*shard) if shard else whole
    return Source(
        name=printable(Path(corpus)),
        identity=_identity(files),
        total_bytes=files.total_bytes,
        skipped=files.skipped,
        events=lambda after: stream_documents(files, reading, errors=errors, after=after),
        shard=Shard(*shard, whole.fingerprint) if shard else None,
    )


def _source_of_input(errors: OnError, reading: Reading, shard: tuple[int, int] | None) -> Source:
    if reading.kind == "picture":
        raise UsageError("pictures are files and standard input is a stream; save them to a folder")
    if shard is not None:
        raise UsageError("shards are made of files and standard input is a stream; save it to files")
    saved = spooled_input(reading)
    files = find_corpus_files(saved.path, kind=reading.kind)
    events = partial(_events_of_input, saved, files, errors, reading)  # `saved` keeps the file alive
    return Source("standard input", saved.sha256, files.total_bytes, (), events)


def _events_of_input(
    saved: SpooledInput, files: CorpusFiles, errors: OnError, reading: Reading, after: ReadPosition
) -> Iterator[Event]:
    yield from stream_documents(files, reading, errors=errors, after=after)


def _identity(files: CorpusFiles) -> str:
    """Returns a digest of the files' paths, sizes and modification times."""
    digest = hashlib.sha256()
    for path in files.paths:
        try:
            status = path.stat()
        except OSError:  # its reader reports the error
            digest.update(json.dumps([printable(path.absolute()), None]).encode())
            continue
        digest.update(json.dumps([printable(path.absolute()), status.st_size, status.st_mtime_ns]).encode())
    return digest.hexdigest()


def _hub_events(dataset: HubDataset, errors: OnError, reading: Reading, after: ReadPosition = START) -> Iterator[Event]:
    for row, found in enumerate(dataset.texts(reading, skip=after.texts), after.texts + 1):
        source, position = f"{dataset}, {found.place}", ReadPosition(0, row)
        if isinstance(found, RawText):
            yield from text_events(found, position, source, source)
        else:
            yield Dropped(position, left_out(errors, source, source, found.reason, found.remedy), found.read_bytes)
