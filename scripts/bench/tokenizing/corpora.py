"""Makes corpora of any size from a few novels: copies with different edits, so that no two texts are the same.

In each copy a third of the paragraphs change places, some are dropped, and a fifth of the words are replaced by words
sampled from the same book. Two copies of a book then share 6% of their five-word sequences (Jaccard), far from a near
duplicate. One book is held in memory at a time.
"""

import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from revlm.errors import DataError, StorageError, UsageError

MOVED_SHARE = 1 / 3
DROPPED_SHARE = 0.05
REPLACED_SHARE = 0.2
LINE_FILE = "line.txt"
_BETWEEN_PARAGRAPHS = re.compile(r"\n\s*\n")


def edited(paragraphs: list[str], generator: np.random.Generator) -> list[str]:
    """Returns an edited copy of a book's paragraphs, with at least one paragraph if there was one."""
    by_paragraph = [paragraph.split(" ") for paragraph in paragraphs]
    words = np.array(list(itertools.chain.from_iterable(by_paragraph)), dtype=object)
    replaced = np.flatnonzero(generator.random(len(words)) < REPLACED_SHARE)
    copy = words.copy()
    copy[replaced] = words[generator.integers(len(words), size=len(replaced))]

    ends = list(itertools.accumulate(len(each) for each in by_paragraph))
    starts = [0, *ends[:-1]]
    order = np.arange(len(paragraphs))
    moved = np.flatnonzero(generator.random(len(order)) < MOVED_SHARE)
    order[moved] = order[generator.permutation(moved)]
    kept = order[generator.random(len(order)) >= DROPPED_SHARE]
    return [" ".join(copy[starts[place] : ends[place]]) for place in (kept if len(kept) else order)]


def write_corpus(novels: Path, output: Path, *, size_bytes: int, seed: int) -> int:
    """Fills the new folder `output` with copies, one per file, `size_bytes` in total; returns their number.

    Their names sort in order of creation: all novels once, all a second time, and so on. The last one is truncated
    at the size, up to three bytes earlier to end with a whole character.

    Raises:
        DataError: as `find_novels`; or a novel is not UTF-8, or none has text.
        UsageError: `output` exists and is not empty.
        StorageError: `output` cannot be written.
    """
    copies = _copies(find_novels(novels), seed, _paragraphs)

    def fill(folder: Path) -> int:
        left = size_bytes
        for number, (path, paragraphs) in enumerate(copies):
            content = ("\n\n".join(paragraphs) + "\n").encode()
            (folder / f"{number:05}_{path.stem}.txt").write_bytes(_cut(content, left))
            left -= len(content)
            if left <= 0:
                return number + 1
        raise AssertionError("copies have no end")

    return _write_atomically(output, fill)


def write_one_line(novels: Path, output: Path, *, size_bytes: int, seed: int) -> int:
    """Fills the new folder `output` with one file of copies without line ends; returns their number.

    Paragraphs and lines are joined by spaces. The size and the errors are those of `write_corpus`.
    """
    copies = _copies(find_novels(novels), seed, _unbroken_paragraphs)

    def fill(folder: Path) -> int:
        left = size_bytes
        with (folder / LINE_FILE).open("wb") as file:
            for number, (_, paragraphs) in enumerate(copies):
                content = (" " * (number > 0) + " ".join(paragraphs)).encode()
                file.write(_cut(content, left))
                left -= len(content)
                if left <= 0:
                    return number + 1
        raise AssertionError("copies have no end")

    return _write_atomically(output, fill)


def find_novels(folder: Path) -> list[Path]:
    """Returns the .txt files of a folder, sorted by name.

    Raises:
        DataError: there is none.
    """
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise DataError(f"{folder} holds no .txt file; name a folder of novels with --novels")
    return paths


def _copies(paths: list[Path], seed: int, split: Callable[[str], list[str]]) -> Iterator[tuple[Path, list[str]]]:
    """Yields an endless sequence of copies: each novel in turn, with its edited paragraphs."""
    for copy in itertools.count():
        empty = True
        for place, path in enumerate(paths):
            paragraphs = split(_read(path))
            if paragraphs:
                empty = False
                yield path, edited(paragraphs, np.random.default_rng([seed, copy, place]))
        if empty:
            raise DataError(f"the .txt files of {paths[0].parent} have no text; name a folder of novels with --novels")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 at byte {error.start}; convert it, or leave it out") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it readable, or leave it out") from error


def _paragraphs(text: str) -> list[str]:
    return [each for each in _BETWEEN_PARAGRAPHS.split(text.strip()) if each]


def _unbroken_paragraphs(text: str) -> list[str]:
    return [" ".join(each.split()) for each in _paragraphs(text)]


def _cut(content: bytes, size_bytes: int) -> bytes:
    """Returns the first bytes, without an incomplete character at the end."""
    return content if len(content) <= size_bytes else content[:size_bytes].decode("utf-8", "ignore").encode()


def _write_atomically(output: Path, fill: Callable[[Path], int]) -> int:
    """Fills a temporary folder and renames it to `output`, so that a partial corpus never looks complete."""
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UsageError(f"{output} already exists; give a new folder to --output, or remove it first")
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
            unfinished = Path(scratch, output.name)
            unfinished.mkdir()
            made = fill(unfinished)
            unfinished.rename(output)
            return made
    except OSError as error:
        raise StorageError(
            f"{output} cannot be written ({error.strerror}); make room, or choose another folder"
        ) from error
