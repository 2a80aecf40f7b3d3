"""Lists the files of a corpus (below a folder, matching a pattern, or a single one) and splits them into shards."""

import glob
import hashlib
import json
import os
import re
import stat
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from revlm.corpus.reading.readers import DocumentKind, listed_endings, printable, reader_of, unreadable, why
from revlm.corpus.reading.refusing import OnError, Skipped, left_out
from revlm.corpus.reading.store_folder import is_store
from revlm.errors import DataError, UsageError


@dataclass(frozen=True)
class Shard:
    """Which part of a corpus a store holds: `number` of `count`, from 1; `corpus` is the whole corpus's fingerprint."""

    number: int
    count: int
    corpus: str

    def __str__(self) -> str:
        return f"shard {self.number} of {self.count}"


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus in reading order, the size of each in bytes, and what was skipped."""

    root: Path
    paths: tuple[Path, ...]
    sizes: tuple[int, ...]
    skipped: tuple[Skipped, ...]

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes)

    @property
    def fingerprint(self) -> str:
        """The sha256, in hexadecimal, of the paths below the root and the sizes: it does not depend on the root."""
        digest = hashlib.sha256()
        for path, size in zip(self.paths, self.sizes, strict=True):
            digest.update(json.dumps([printable(path.relative_to(self.root)), size]).encode())
        return digest.hexdigest()

    def shard(self, number: int, count: int) -> "CorpusFiles":
        """Returns shard `number` of `count`, from 1: consecutive whole files, at most a file more than an equal share.

        The shards in order are the corpus; the list of skipped entries belongs to the first.

        Raises:
            UsageError: there is no such shard, or there are fewer files than shards.
        """
        if not 1 <= number <= count:
            raise UsageError(f"there is no shard {number} of {count}; give one of 1/{count} to {count}/{count}")
        if count > len(self.paths):
            raise UsageError(
                f"the corpus {self.root} has too few files for {count} shards, which hold whole files; "
                f"give at most {len(self.paths)}"
            )
        cuts = self._cuts(count)
        part = slice(cuts[number - 1], cuts[number])
        return CorpusFiles(self.root, self.paths[part], self.sizes[part], self.skipped if number == 1 else ())

    def _cuts(self, count: int) -> list[int]:
        """Returns the `count + 1` file indices where shards begin and end: those nearest to equal bytes."""
        before = [0, *accumulate(self.sizes)]
        cuts = [0]
        for number in range(1, count):
            share = self.total_bytes * number / count
            cut = bisect_left(before, share)
            cut -= cut > 0 and share - before[cut - 1] <= before[cut] - share
            cuts.append(min(max(cut, cuts[-1] + 1), len(self.paths) - (count - number)))
        return [*cuts, len(self.paths)]


_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def find_corpus_files(
    corpus: Path | str, *, errors: OnError = "strict", follow_links: bool = False, kind: DocumentKind = "text"
) -> CorpusFiles:
    """Returns the readable files of `corpus`, a folder (searched recursively), a pattern or one file, sorted by path.

    `kind` is what a document is, which decides what can be read.

    Symbolic links inside the corpus are followed, each folder once, so a cycle of links ends; links that lead out of
    the corpus are followed only with `follow_links`. Hidden entries, token stores, files without a reader, files that
    are not regular (a pipe, a device) and links that are not followed are listed as skipped. In a pattern `*`, `?` and
    `[]` mean what they mean in a shell, and `**` matches any folders; a file that it matches again through links to
    folders is listed as skipped. A corpus that is itself a link is resolved.

    Raises:
        DataError: the corpus is missing or a token store, has no file that can be read, or, unless `errors` is "skip",
            a folder or file below it cannot be accessed.
        UsageError: the corpus is a URL.
    """
    if _URL.match(str(corpus)):
        raise UsageError(f"{printable(str(corpus))} is a URL; fetch it first, for novels with `revlm fetch`")
    try:
        return _found(corpus, errors, follow_links, kind)
    except (OSError, ValueError, RecursionError) as error:  # an invalid file name, or folders nested too deeply
        named = printable(str(corpus)).replace("\0", "\\0")
        raise DataError(f"the corpus {named} cannot be opened ({why(error)}); check the path") from error


def _found(corpus: Path | str, errors: OnError, follow_links: bool, kind: DocumentKind) -> CorpusFiles:
    root = Path(corpus)
    if is_store(root):
        raise DataError(f"the corpus {root} is a token store, which holds no texts; give the folder of its texts")
    if root.is_dir():
        return _find_in_folder(_Search(root, errors, follow_links, kind))
    if is_pattern(corpus):
        folder = folder_of_pattern(str(corpus))
        return _find_by_pattern(str(corpus), _Search(folder, errors, follow_links, kind, through_links=True))
    status = root.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"the corpus {root} is neither a folder nor a regular file; save its text to a .txt file first")
    if root.suffix and reader_of(root, kind) is None:
        raise DataError(
            f"the corpus {root} has no reader for {root.suffix} files; give a folder, or one of {listed_endings(kind)}"
        )
    return CorpusFiles(root.parent, (root,), (status.st_size,), ())


def is_pattern(corpus: Path | str) -> bool:
    """Whether a corpus is a pattern, rather than an existing file or folder whose name looks like one."""
    return glob.has_magic(str(corpus)) and not os.path.exists(corpus)


def folder_of_pattern(pattern: str) -> Path:
    """Returns the folder below which a pattern is searched for."""
    return Path(os.path.dirname(re.split(r"[*?\[]", pattern, maxsplit=1)[0]) or ".")


@dataclass
class _Search:
    """The files found so far below a root."""

    root: Path
    errors: OnError
    follow_links: bool
    kind: DocumentKind
    through_links: bool = False  # a path may lead through links that were not checked one by one
    sizes: dict[Path, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.append(Skipped(printable(path.relative_to(self.root)), reason))

    def unusable(self, path: Path, error: OSError) -> None:
        problem = unreadable(path, error)
        below = printable(path.relative_to(self.root))
        self.skipped.append(left_out(self.errors, printable(path), below, problem.reason, problem.remedy, cause=error))

    def leads_out(self, path: Path) -> bool:
        """Whether a link leads out of the corpus and is not followed; such a link is listed as skipped."""
        if self.follow_links or not (self.through_links or path.is_symlink()):
            return False
        target = Path(os.path.realpath(path))
        if target.is_relative_to(self._real_root):
            return False
        self.skip(path, f"a link that leads out of the corpus, to {printable(target)} (--follow-links reads it)")
        return True

    @cached_property
    def _real_root(self) -> Path:
        return Path(os.path.realpath(self.root))

    def look_at(self, path: Path) -> None:
        """Adds a file, or skips it with a reason."""
        if self.leads_out(path):
            return
        if reader_of(path, self.kind) is None:
            self.skip(path, f"not a {self.kind} file ({listed_endings(self.kind)})")
            return
        try:
            status = path.stat()
        except OSError as error:
            self.unusable(path, error)
            return
        if not stat.S_ISREG(status.st_mode):
            self.skip(path, "not a regular file")
            return
        self.sizes[path] = status.st_size

    def files(self, nothing: str) -> CorpusFiles:
        """Returns the files found; where there are none, raises a DataError whose message begins with `nothing`."""
        if not self.sizes:
            raise DataError(
                f"{nothing} file that can be read ({listed_endings(self.kind)}); put the files there, or give another "
                "folder"
            )
        paths = tuple(sorted(self.sizes))
        return CorpusFiles(self.root, paths, tuple(self.sizes[path] for path in paths), tuple(self.skipped))


def _find_by_pattern(pattern: str, search: _Search) -> CorpusFiles:
    seen: dict[str, str] = {}
    for name in sorted(set(glob.glob(pattern, recursive=True)), key=lambda name: (name.count(os.sep), name)):
        if os.path.isdir(name):
            continue
        folder, own_name = os.path.split(name)
        first = seen.setdefault(os.path.join(os.path.realpath(folder), own_name), name)
        if first == name:
            search.look_at(Path(name))
        else:
            search.skip(Path(name), f"the same file as {printable(first)}")
    return search.files(f"the pattern {pattern} matches no")


def _find_in_folder(search: _Search) -> CorpusFiles:
    root = search.root
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
        if is_store(here):
            search.skip(here, "a token store")
            subfolders.clear()
            continue
        for name in _hidden(subfolders + names):
            search.skip(here / name, "hidden")
        inside = sorted(set(subfolders) - set(_hidden(subfolders)))
        subfolders[:] = [name for name in inside if not search.leads_out(here / name)]
        for name in sorted(set(names) - set(_hidden(names))):
            search.look_at(here / name)
    return search.files(f"the corpus {root} holds no")


def _hidden(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith("."))
