"""Which files a corpus is: those below a folder, those that match a pattern, or one."""

import glob
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from revlm.corpus.readers import READERS, printable, reader_of, unreadable, why
from revlm.errors import DataError

OnError = Literal["strict", "skip"]


@dataclass(frozen=True)
class Skipped:
    """A file, folder or text, by its path below the corpus, that gave no document, and why."""

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
    """Returns the readable files of `corpus`, sorted by path: a folder (searched recursively), a pattern, or one file.

    Links to folders are followed, each folder once, so a circle of links ends. Hidden entries, files without
    a reader and what is no regular file (a pipe, a device) are listed as skipped. In a pattern `*`, `?` and `[]` stand
    for what they stand for in a shell, and `**` for any folders.

    Raises:
        DataError: the corpus is missing, has no file that can be read, or, unless `errors` is "skip", a
            folder or file below it cannot be looked at.
    """
    root = Path(corpus)
    if root.is_dir():
        return _find_in_folder(root, errors)
    if glob.has_magic(str(corpus)) and not root.exists():
        return _find_by_pattern(str(corpus), errors)
    try:
        status = root.stat()
    except OSError as error:
        raise DataError(f"the corpus {root} cannot be opened ({why(error)}); check the path") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"the corpus {root} is neither a folder nor a regular file; save its text to a .txt file first")
    if root.suffix and reader_of(root) is None:
        raise DataError(
            f"the corpus {root} has no reader for {root.suffix} files; give a folder, or one of {_endings()}"
        )
    return CorpusFiles(root.parent, (root,), status.st_size, ())


@dataclass
class _Search:
    """What a search has found so far below a root."""

    root: Path
    errors: OnError
    paths: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    total_bytes: int = 0

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.append(Skipped(printable(path.relative_to(self.root)), reason))

    def unusable(self, path: Path, error: OSError) -> None:
        problem = unreadable(path, error)
        if self.errors == "strict":
            raise problem.as_data_error() from error
        self.skip(path, problem.reason)

    def look_at(self, path: Path) -> None:
        """Takes a file, or skips it with a reason."""
        if reader_of(path) is None:
            self.skip(path, f"not a text file ({_endings()})")
            return
        try:
            status = path.stat()
        except OSError as error:
            self.unusable(path, error)
            return
        if not stat.S_ISREG(status.st_mode):
            self.skip(path, "not a regular file")
            return
        self.paths.append(path)
        self.total_bytes += status.st_size

    def files(self, nothing: str) -> CorpusFiles:
        """Returns what was found; raises the error that begins with `nothing` where that is nothing."""
        if not self.paths:
            raise DataError(f"{nothing} {_endings()} file; put the texts there, or give another folder")
        return CorpusFiles(self.root, tuple(sorted(self.paths)), self.total_bytes, tuple(self.skipped))


def _find_by_pattern(pattern: str, errors: OnError) -> CorpusFiles:
    search = _Search(Path(os.path.dirname(re.split(r"[*?\[]", pattern, maxsplit=1)[0]) or "."), errors)
    for name in sorted(set(glob.glob(pattern, recursive=True))):
        if not os.path.isdir(name):
            search.look_at(Path(name))
    return search.files(f"the pattern {pattern} matches no")


def _find_in_folder(root: Path, errors: OnError) -> CorpusFiles:
    search = _Search(root, errors)
    seen: dict[tuple[int, int], Path] = {}
    for folder, subfolders, names in os.walk(
        root, followlinks=True, onerror=lambda error: search.unusable(Path(error.filename), error)
    ):
        here = Path(folder)
        status = here.stat()
        first = seen.setdefault((status.st_dev, status.st_ino), here)
        if first != here:
            search.skip(here, f"the same folder as {printable(first)}")
            subfolders.clear()
            continue
        for name in _hidden(subfolders + names):
            search.skip(here / name, "hidden")
        subfolders[:] = sorted(set(subfolders) - set(_hidden(subfolders)))
        for name in sorted(set(names) - set(_hidden(names))):
            search.look_at(here / name)
    return search.files(f"the corpus {root} holds no")


def _hidden(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith("."))


def _endings() -> str:
    *others, last = READERS
    return f"{', '.join(others)} or {last}"
