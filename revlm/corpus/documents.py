"""Reads a corpus, one document at a time: folders of .txt and .md files, or a single such file.

Text is strict UTF-8. A byte order mark and carriage returns are normalised and Project Gutenberg's own matter
is removed; all of that is counted, and every file that gives no document is named with its reason. A further
format is one more entry in `READERS`: a function from a file to its documents.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from revlm.corpus.gutenberg import strip_gutenberg
from revlm.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OnError = Literal["strict", "skip"]


@dataclass(frozen=True)
class Cleaning:
    """What was removed or normalised on the way from a file to a text; counts add up over documents.

    `file_bytes` is the UTF-8 length of the text plus 3 for each byte order mark, 1 for each CRLF, and the
    bytes of Project Gutenberg's front and back matter. A lone carriage return becomes a newline and changes
    no length.
    """

    file_bytes: int = 0
    byte_order_marks: int = 0
    crlf_line_ends: int = 0
    lone_carriage_returns: int = 0
    gutenberg_front_bytes: int = 0
    gutenberg_back_bytes: int = 0

    def __add__(self, other: "Cleaning") -> "Cleaning":
        return Cleaning(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def removed_bytes(self) -> int:
        """Bytes of the file that are not in the text."""
        mark_bytes = len(BYTE_ORDER_MARK) * self.byte_order_marks
        return mark_bytes + self.crlf_line_ends + self.gutenberg_front_bytes + self.gutenberg_back_bytes


@dataclass(frozen=True)
class Document:
    """One text with a title and its source, the path below the corpus folder."""

    title: str
    source: str
    text: str
    cleaning: Cleaning = field(default_factory=Cleaning)


@dataclass(frozen=True)
class Skipped:
    """A file or folder, by its path below the corpus, that gave no document, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus in reading order, their bytes together, and what was passed over."""

    root: Path
    paths: tuple[Path, ...]
    total_bytes: int
    skipped: tuple[Skipped, ...]


def find_corpus_files(corpus: Path | str, *, errors: OnError = "strict") -> CorpusFiles:
    """Returns the readable files below `corpus`, a folder (searched recursively) or one file, sorted by path.

    Links to folders are followed, each folder once, so a circle of links ends. Hidden entries, files without
    a reader and what is no regular file (a pipe, a device) are listed as skipped.

    Raises:
        DataError: the corpus is missing, has no file that can be read, or, unless `errors` is "skip", a
            folder or file below it cannot be looked at.
    """
    root = Path(corpus)
    if root.is_dir():
        return _find_in_folder(root, errors)
    try:
        status = root.stat()
    except OSError as error:
        raise DataError(f"the corpus {root} cannot be opened ({_reason(error)}); check the path") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"the corpus {root} is neither a folder nor a regular file; save its text to a .txt file first")
    if root.suffix and root.suffix.lower() not in READERS:
        raise DataError(
            f"the corpus {root} has no reader for {root.suffix} files; give a folder, or one of {_endings()}"
        )
    return CorpusFiles(root.parent, (root,), status.st_size, ())


def read_documents(
    corpus: Path | str | CorpusFiles,
    *,
    errors: OnError = "strict",
    on_skip: Callable[[Skipped], None] | None = None,
) -> Iterator[Document]:
    """Yields the documents of a corpus in order, holding one at a time.

    Files that are empty or only white space are skipped and passed to `on_skip`. So are files that cannot be
    read or are not UTF-8 where `errors` is "skip".

    Raises:
        DataError: as `find_corpus_files`; or, where `errors` is "strict", at a file that cannot be read or is
            not UTF-8 (path and byte offset named).
    """
    files = corpus if isinstance(corpus, CorpusFiles) else find_corpus_files(corpus, errors=errors)
    skip = on_skip or (lambda skipped: None)
    if not isinstance(corpus, CorpusFiles):
        for skipped in files.skipped:
            skip(skipped)
    for path in files.paths:
        read = READERS.get(path.suffix.lower(), read_text_file)
        try:
            for document in read(path, _printable(path.relative_to(files.root))):
                if document.text.strip():
                    yield document
                else:
                    skip(Skipped(document.source, "empty or only white space"))
        except _UnusableFileError as error:
            if errors == "strict":
                raise error.as_data_error() from error
            skip(Skipped(_printable(path.relative_to(files.root)), error.reason))


def read_text_file(path: Path, source: str) -> Iterator[Document]:
    """Yields the one document of a UTF-8 text file; its title is a Gutenberg header's or the file's name."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _UnusableFileError(path, f"cannot be read: {_reason(error)}", "make it readable") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8: byte 0x{raw[error.start]:02x} at byte offset {error.start} ({error.reason})"
        raise _UnusableFileError(path, reason, "convert it to UTF-8") from error
    marks = int(raw.startswith(BYTE_ORDER_MARK))
    text = text[marks:]
    carriage_returns, crlf = text.count("\r"), text.count("\r\n")
    if carriage_returns:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    stripped = strip_gutenberg(text)
    cleaning = Cleaning(
        file_bytes=len(raw),
        byte_order_marks=marks,
        crlf_line_ends=crlf,
        lone_carriage_returns=carriage_returns - crlf,
        gutenberg_front_bytes=len(stripped.front.encode()),
        gutenberg_back_bytes=len(stripped.back.encode()),
    )
    title = stripped.title or _printable(path.stem).replace("_", " ").strip() or source
    yield Document(title, source, stripped.text, cleaning)


READERS: dict[str, Callable[[Path, str], Iterator[Document]]] = {
    ".txt": read_text_file,
    ".md": read_text_file,
}


class _UnusableFileError(Exception):
    """A file that gives no document; whether that stops everything is the caller's choice."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.path, self.reason, self.remedy = path, reason, remedy

    def as_data_error(self) -> DataError:
        return DataError(f"{_printable(self.path)} {self.reason}; {self.remedy}, or pass --errors skip to leave it out")


def _find_in_folder(root: Path, errors: OnError) -> CorpusFiles:
    paths: list[Path] = []
    skipped: list[Skipped] = []
    total_bytes = 0
    seen: dict[tuple[int, int], Path] = {}

    def skip(path: Path, reason: str) -> None:
        skipped.append(Skipped(_printable(path.relative_to(root)), reason))

    def unusable(path: Path, error: OSError) -> None:
        problem = _UnusableFileError(path, f"cannot be read: {_reason(error)}", "make it readable")
        if errors == "strict":
            raise problem.as_data_error() from error
        skip(path, problem.reason)

    for folder, subfolders, names in os.walk(
        root, followlinks=True, onerror=lambda error: unusable(Path(error.filename), error)
    ):
        here = Path(folder)
        status = here.stat()
        first = seen.setdefault((status.st_dev, status.st_ino), here)
        if first != here:
            skip(here, f"the same folder as {_printable(first)}")
            subfolders.clear()
            continue
        for name in _hidden(subfolders + names):
            skip(here / name, "hidden")
        subfolders[:] = sorted(set(subfolders) - set(_hidden(subfolders)))
        for path in (here / name for name in sorted(set(names) - set(_hidden(names)))):
            if path.suffix.lower() not in READERS:
                skip(path, f"not a text file ({_endings()})")
                continue
            try:
                status = path.stat()
            except OSError as error:
                unusable(path, error)
                continue
            if stat.S_ISREG(status.st_mode):
                paths.append(path)
                total_bytes += status.st_size
            else:
                skip(path, "not a regular file")
    if not paths:
        raise DataError(f"the corpus {root} holds no {_endings()} file; put the texts there, or give another folder")
    return CorpusFiles(root, tuple(sorted(paths)), total_bytes, tuple(skipped))


def _hidden(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith("."))


def _endings() -> str:
    return " or ".join(READERS)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _printable(path: Path | str) -> str:
    """A path as valid text: bytes of a file name that are no UTF-8 are written as escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
