"""Reads a corpus, one document at a time, whatever its files are.

Text is strict UTF-8. A byte order mark and carriage returns are normalised and Project Gutenberg's own matter
is removed; all of that is counted, and every file or text that gives no document is named with its reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from revlm.corpus.cleaning import Cleaning, clean
from revlm.corpus.corpus_files import CorpusFiles, OnError, Skipped, find_corpus_files
from revlm.corpus.readers import RawText, Unusable, UnusableFileError, name_of, printable, reader_of, why
from revlm.corpus.readers.text import read_text

TEXT_COLUMN = "text"


@dataclass(frozen=True)
class Document:
    """One text with a title and its source: the path below the corpus folder, and the place in that file.

    `read_bytes` is its share of the bytes of its file, for progress.
    """

    title: str
    source: str
    text: str
    cleaning: Cleaning = field(default_factory=Cleaning)
    read_bytes: int = 0


def read_documents(
    corpus: Path | str | CorpusFiles,
    *,
    errors: OnError = "strict",
    text_column: str = TEXT_COLUMN,
    on_skip: Callable[[Skipped], None] | None = None,
) -> Iterator[Document]:
    """Yields the documents of a corpus in order, holding one at a time.

    Texts that are empty or only white space are skipped and passed to `on_skip`. So are files that cannot be
    read, are damaged, are not UTF-8 or change meanwhile, and lines and rows without a text, where `errors` is "skip".
    `text_column` names the text in files of rows.

    Raises:
        DataError: as `find_corpus_files`; or, where `errors` is "strict", at such a file, line or row (path and place
            named).
    """
    files = corpus if isinstance(corpus, CorpusFiles) else find_corpus_files(corpus, errors=errors)
    skip = on_skip or (lambda skipped: None)
    if not isinstance(corpus, CorpusFiles):
        for skipped in files.skipped:
            skip(skipped)
    for path in files.paths:
        source = printable(path.relative_to(files.root))
        try:
            for found in _read(path, text_column):
                at = f"{source}, {found.place}" if found.place else source
                if isinstance(found, Unusable):
                    if errors == "strict":
                        raise UnusableFileError(path, f"{found.place} {found.reason}", found.remedy)
                    skip(Skipped(at, found.reason))
                elif found.text.strip():
                    yield _document(found, at, path)
                else:
                    skip(Skipped(at, "empty or only white space"))
        except UnusableFileError as error:
            if errors == "strict":
                raise error.as_data_error() from error
            skip(Skipped(source, error.reason))


def _read(path: Path, text_column: str) -> Iterator[RawText | Unusable]:
    """Yields the texts of a file that is the same before and after."""
    try:
        before = _version(path)
        for found in (reader_of(path) or read_text)(path, text_column):
            if _version(path) != before:
                break
            yield found
        if _version(path) == before:
            return
    except OSError as error:
        raise UnusableFileError(path, f"cannot be read: {why(error)}", "make it readable") from error
    raise UnusableFileError(path, "changed while it was read", "run again when nothing writes to it")


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _document(found: RawText, source: str, path: Path) -> Document:
    cleaned = clean(found.text)
    named = found.title or cleaned.title
    if named is None:
        named = printable(name_of(path)).replace("_", " ").strip() or source
        named = f"{named}, {found.place}" if found.place else named
    return Document(named, source, cleaned.text, cleaned.cleaning, found.read_bytes)
