"""Readers of files by their ending: each takes a file and the column of the text, and gives one text at a time.

A further format is one more entry in `READERS`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from revlm.corpus.readers.epub import read_epub
from revlm.corpus.readers.jsonl import read_jsonl
from revlm.corpus.readers.parquet import read_parquet
from revlm.corpus.readers.raw import RawText, Unusable, UnusableFileError, printable, unreadable, why
from revlm.corpus.readers.text import read_text

__all__ = [
    "READERS",
    "RawText",
    "Reader",
    "Unusable",
    "UnusableFileError",
    "name_of",
    "printable",
    "reader_of",
    "unreadable",
    "why",
]

Reader = Callable[[Path, str], Iterator[RawText | Unusable]]

READERS: dict[str, Reader] = {
    ".txt": read_text,
    ".md": read_text,
    ".jsonl": read_jsonl,
    ".jsonl.gz": read_jsonl,
    ".jsonl.zst": read_jsonl,
    ".parquet": read_parquet,
    ".epub": read_epub,
}


def reader_of(path: Path) -> Reader | None:
    """Returns the reader for a file's ending, in capitals or not; None where there is none."""
    return READERS.get(_ending(path))


def name_of(path: Path) -> str:
    """Returns the name of a file without its ending."""
    return path.name.removesuffix(path.name[len(path.name) - len(_ending(path)) :])


def _ending(path: Path) -> str:
    name = path.name.lower()
    return next((ending for ending in READERS if name.endswith(ending)), path.suffix)
