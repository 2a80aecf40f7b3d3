"""Where the texts of a corpus come from: files of this machine, or a dataset of the hub; behind one face."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from revlm.corpus.corpus_files import CorpusFiles, OnError, Shard, Skipped, find_corpus_files
from revlm.corpus.documents import TEXT_COLUMN, stream_documents
from revlm.corpus.events import START, Dropped, Event, Place, text_events
from revlm.corpus.readers import RawText, printable
from revlm.corpus.readers.hub import HubDataset
from revlm.corpus.readers.hub_address import PREFIX
from revlm.errors import DataError, UsageError


@dataclass(frozen=True)
class Source:
    """A corpus that can be read from any place in it, again and again.

    Attributes:
        name: what it is called.
        identity: another one means that the texts may be others.
        total_bytes: what `Event.read_bytes` adds up to, where that is known; of a hub dataset only about.
        skipped: what was passed over while it was looked for.
        events: the events after a place.
        shard: which part of the files it is; None for the whole.
        commit: of a dataset of the hub; None where there is none.
    """

    name: str
    identity: str
    total_bytes: int | None
    skipped: tuple[Skipped, ...]
    events: Callable[[Place], Iterator[Event]]
    shard: Shard | None = None
    commit: str | None = None


def open_source(
    corpus: Path | str,
    *,
    errors: OnError = "strict",
    text_column: str = TEXT_COLUMN,
    split: str | None = None,
    revision: str | None = None,
    config: str | None = None,
    shard: tuple[int, int] | None = None,
) -> Source:
    """Returns the corpus with a name: a folder, a pattern, a file, or `hf:owner/name` for a dataset of the hub.

    `split`, `revision` and `config` are those of a dataset of the hub, `shard` the number of a part of the files, from
    1, and of how many. See `stream_documents` for the others.

    Raises:
        DataError: as `find_corpus_files` and `HubDataset`.
        UsageError: there is no such split, revision or configuration, or files have none; or no such shard.
    """
    if str(corpus).startswith(PREFIX):
        if shard is not None:
            raise UsageError(
                f"shards are runs of files and {corpus} is a dataset of the hub; save its files to a folder"
            )
        dataset = HubDataset.parse(str(corpus), split=split or "train", revision=revision, config=config).pinned()
        return Source(
            name=str(dataset),
            identity=f"{dataset}, {dataset.version}",
            total_bytes=dataset.total_bytes(),
            skipped=(),
            events=partial(_hub_events, dataset, errors, text_column),
            commit=dataset.revision,
        )
    for option, value in {"--split": split, "--revision": revision, "--config": config}.items():
        if value is not None:
            raise UsageError(f"{option} is for a dataset of the hub and {corpus} is none; leave it out")
    whole = find_corpus_files(corpus, errors=errors)
    files = whole.shard(*shard) if shard else whole
    return Source(
        name=printable(Path(corpus)),
        identity=_identity(files),
        total_bytes=files.total_bytes,
        skipped=files.skipped,
        events=lambda after: stream_documents(files, errors=errors, text_column=text_column, after=after),
        shard=Shard(*shard, whole.fingerprint) if shard else None,
    )


def _identity(files: CorpusFiles) -> str:
    """Returns a digest of the files, their sizes and times of change."""
    digest = hashlib.sha256()
    for path in files.paths:
        status = path.stat()
        digest.update(json.dumps([printable(path.absolute()), status.st_size, status.st_mtime_ns]).encode())
    return digest.hexdigest()


def _hub_events(dataset: HubDataset, errors: OnError, text_column: str, after: Place = START) -> Iterator[Event]:
    for row, found in enumerate(dataset.texts(text_column, skip=after.texts), after.texts + 1):
        source, place = f"{dataset}, {found.place}", Place(0, row)
        if isinstance(found, RawText):
            yield from text_events(found, place, source, source)
        elif errors == "strict":
            raise DataError(f"{source} {found.reason}; {found.remedy}, or pass --errors skip to leave it out")
        else:
            yield Dropped(place, Skipped(source, found.reason), found.read_bytes)
