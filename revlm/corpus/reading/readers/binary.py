"""Reads any file as the bytes that it holds: no decompression, no encoding, no cleaning."""

from collections.abc import Callable, Iterator
from pathlib import Path

from revlm.corpus.reading.readers.opened import opened
from revlm.corpus.reading.readers.raw import RawBytes, Reading, printable

PIECE_BYTES = 1 << 18  # also the unit of encoding: bytes may be cut anywhere


def read_binary(path: Path, reading: Reading) -> Iterator[RawBytes]:
    """Yields the one document of a file; its title is the file's name."""
    with opened(path) as file:
        pieces = iter(lambda: _read(file.read, reading), b"")
        yield RawBytes(pieces, path.stat().st_size, title=printable(path.name))


def _read(read: Callable[[int], bytes], reading: Reading) -> bytes:
    reading.raise_if_stopped()
    return read(PIECE_BYTES)
