"""Reads the documents of files, whatever their formats.

Text is strict UTF-8. A byte order mark, carriage returns and Project Gutenberg's front and back matter are removed and
counted, and every file or text that gives no document is listed with its reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.reading.corpus_files import CorpusFiles, find_corpus_files
from revlm.corpus.reading.events import START, Dropped, Ended, Event, Piece, ReadPosition, bytes_events, text_events
from revlm.corpus.reading.readers import (
    DocumentKind,
    RawBytes,
    RawText,
    Reader,
    Reading,
    Unusable,
    UnusableFileError,
    name_of,
    printable,
    reader_of,
    unreadable,
)
from revlm.corpus.reading.readers.binary import read_binary
from revlm.corpus.reading.readers.picture import read_picture
from revlm.corpus.reading.readers.raw import PLAIN_READING, TEXT_COLUMN
from revlm.corpus.reading.readers.text import read_text
from revlm.corpus.reading.refusing import OnError, Skipped, left_out
from revlm.errors import RevlmError
from revlm.limits import DEFAULT_LIMITS, Limits


def stream_documents(
    files: CorpusFiles,
    reading: Reading = PLAIN_READING,
    *,
    errors: OnError = "strict",
    after: ReadPosition = START,
) -> Iterator[Event]:
    """Yields the documents of a corpus piece by piece, in order, after a position.

    The `read_bytes` of `Ended` and `Dropped` add up to the size of the files in bytes; those of a document's pieces add
    up to at most the `read_bytes` of its `Ended`.

    `Dropped` reports texts and files that are empty or only white space, and where `errors` is "skip", files that
    cannot be read, are damaged, are not UTF-8, exceed the limits or change while they are read, and lines and rows
    without a text.

    Raises:
        DataError: where `errors` is "strict", at such a file, line or row; the message names it.
    """
    for number, path in enumerate(files.paths[after.file :], after.file):
        known = after.texts if number == after.file else 0
        yield from _FileReading(path, number, files.root, errors).events(reading, known)


# Readers of a single file that is named without an extension.
_FOR_OTHERS: dict[DocumentKind, Reader] = {"text": read_text, "binary": read_binary, "picture": read_picture}


class _FileReading:
    """The reading of one file: how many of its texts have ended, and their bytes."""

    def __init__(self, path: Path, number: int, root: Path, errors: OnError) -> None:
        self._path, self._number, self._errors = path, number, errors
        self._source = printable(path.relative_to(root))
        self._texts = self._read_bytes = 0
        self._version = (0, 0)

    def events(self, reading: Reading, known: int) -> Iterator[Event]:
        """Yields the events after the first `known` texts; a reading error counts as one more text.

        No exception of a reader passes this point: it becomes the error of its file.
        """
        try:
            self._version = self._version_now()
            for found in (reader_of(self._path, reading.kind) or _FOR_OTHERS[reading.kind])(self._path, reading):
                if self._texts >= known:
                    yield from self._text(found)
                self._texts += 1
                self._read_bytes += found.share()
            self._require_unchanged()
            if not self._texts and not known:
                yield self._dropped(self._source, "empty or only white space", self._version[0])
        except RevlmError:
            raise
        except Exception as error:  # MemoryError and RecursionError as well
            problem = error if isinstance(error, UnusableFileError) else unreadable(self._path, error)
            named, read_bytes = printable(self._path), max(0, self._version[0] - self._read_bytes)
            skipped = left_out(self._errors, named, self._source, problem.reason, problem.remedy, cause=error)
            if self._texts >= known:
                yield Dropped(self._position(), skipped, read_bytes)

    def _text(self, found: RawText | RawBytes | Unusable) -> Iterator[Event]:
        source = f"{self._source}, {found.place}" if found.place else self._source
        title = self._title(found.place) or source
        if isinstance(found, RawText):
            yield from text_events(found, self._position(), source, title, self._require_unchanged)
        elif isinstance(found, RawBytes):
            yield from bytes_events(found, self._position(), source, title, self._require_unchanged)
        else:
            named = f"{printable(self._path)} {found.place}"
            skipped = left_out(self._errors, named, source, found.reason, found.remedy)
            yield Dropped(self._position(), skipped, found.read_bytes)

    def _position(self) -> ReadPosition:
        return ReadPosition(self._number, self._texts + 1)

    def _dropped(self, source: str, reason: str, read_bytes: int) -> Dropped:
        return Dropped(self._position(), Skipped(source, reason), read_bytes)

    def _title(self, place: str) -> str:
        name = printable(name_of(self._path)).replace("_", " ").strip()
        return f"{name}, {place}" if name and place else name

    def _version_now(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_size, status.st_mtime_ns

    def _require_unchanged(self) -> None:
        if self._version_now() != self._version:
            raise UnusableFileError(self._path, "changed while it was read", "run again when nothing writes to it")


@dataclass(frozen=True)
class Document:
    """One text with a title and its source: the path below the corpus folder, and the line or row in that file."""

    title: str
    source: str
    text: str
    cleaning: Cleaning = field(default_factory=Cleaning)


def read_documents(
    corpus: Path | str | CorpusFiles,
    *,
    errors: OnError = "strict",
    text_column: str = TEXT_COLUMN,
    follow_links: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    on_skip: Callable[[Skipped], None] = lambda skipped: None,
) -> Iterator[Document]:
    """Yields the documents of a corpus, each with its whole text; calls `on_skip` for whatever gives none.

    Raises:
        DataError: as `find_corpus_files` and `stream_documents`.
    """
    files = (
        corpus
        if isinstance(corpus, CorpusFiles)
        else find_corpus_files(corpus, errors=errors, follow_links=follow_links)
    )
    if not isinstance(corpus, CorpusFiles):
        for skipped in files.skipped:
            on_skip(skipped)
    pieces: list[str] = []
    reading = Reading(text_column=text_column, limits=limits)
    for event in stream_documents(files, reading, errors=errors):
        if isinstance(event, Piece):
            assert isinstance(event.text, str)
            pieces.append(event.text)
            continue
        if isinstance(event, Ended):
            yield Document(event.title, event.source, "".join(pieces), event.cleaning)
        else:
            on_skip(event.skipped)
        pieces.clear()
