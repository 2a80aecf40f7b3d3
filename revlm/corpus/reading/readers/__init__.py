"""Readers by file name extension: each takes a path and a `Reading`, and yields one text at a time.

A new format is one more entry in `READERS`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from revlm.corpus.reading.readers.binary import read_binary
from revlm.corpus.reading.readers.epub import read_epub
from revlm.corpus.reading.readers.fasta import read_fasta
from revlm.corpus.reading.readers.html import read_html
from revlm.corpus.reading.readers.jsonl import read_jsonl
from revlm.corpus.reading.readers.opened import COMPRESSIONS
from revlm.corpus.reading.readers.parquet import read_parquet
from revlm.corpus.reading.readers.picture import read_picture
from revlm.corpus.reading.readers.raw import (
    DocumentKind,
    RawBytes,
    RawText,
    Reading,
    Unusable,
    UnusableFileError,
    printable,
    unreadable,
    why,
)
from revlm.corpus.reading.readers.text import read_text

__all__ = [
    "COMPRESSIONS",
    "READERS",
    "DocumentKind",
    "RawBytes",
    "RawText",
    "Reader",
    "Reading",
    "Unusable",
    "UnusableFileError",
    "listed_endings",
    "name_of",
    "printable",
    "reader_of",
    "unreadable",
    "why",
]

Reader = Callable[[Path, Reading], Iterator[RawText | RawBytes | Unusable]]

# An extension of COMPRESSIONS may follow those of the readers in `_COMPRESSIBLE`.
READERS: dict[str, Reader] = {
    ".txt": read_text,
    ".md": read_text,
    ".markdown": read_text,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".fa": read_fasta,
    ".fasta": read_fasta,
    ".fna": read_fasta,
    ".faa": read_fasta,
    ".parquet": read_parquet,
    ".epub": read_epub,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
}
PICTURES: dict[str, Reader] = {".png": read_picture, ".jpg": read_picture, ".jpeg": read_picture, ".webp": read_picture}
_COMPRESSIBLE = (read_text, read_jsonl, read_fasta)


def reader_of(path: Path, kind: DocumentKind) -> Reader | None:
    """Returns the reader for a file's extension, upper or lower case, or None; any file can be read as binary."""
    if kind == "binary":
        return read_binary
    if kind == "picture":
        return PICTURES.get(path.suffix.lower())
    ending, compression = _endings(path)
    reader = READERS.get(ending)
    return reader if not compression or reader in _COMPRESSIBLE else None


def name_of(path: Path) -> str:
    """Returns the name of a file without its extension."""
    ending, compression = _endings(path)
    return path.name[: len(path.name) - len(ending) - len(compression)] or path.name


def listed_endings(kind: DocumentKind) -> str:
    """Returns the extensions of the files that can be read, for a message."""
    if kind == "binary":
        return "of any format"
    *others, last = READERS if kind == "text" else PICTURES
    if kind == "picture":
        return f"{', '.join(others)} or {last}"
    return f"{', '.join(others)} or {last}, text, JSON lines and FASTA also compressed as {', '.join(COMPRESSIONS)}"


def _endings(path: Path) -> tuple[str, str]:
    """Returns the extension of a file's format, and that of its compression, empty where there is none."""
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    rest = Path(path.name[: len(path.name) - len(compression)])
    ending = rest.suffix.lower()
    return (ending, compression) if ending in READERS or (ending in PICTURES and not compression) else (path.suffix, "")
