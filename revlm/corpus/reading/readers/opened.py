"""Opens the files of a corpus: only regular ones, never blocking, decompressed by extension, within the limits."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any

from revlm.corpus.reading.readers.raw import Reading, UnusableFileError, why
from revlm.limits import Limits

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
# Any file may expand to this: a ratio means nothing for a small one.
_FREE_BYTES = 16 << 20


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a regular file; a pipe or device in its place is refused without blocking.

    Raises:
        UnusableFileError: it is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnusableFileError(path, "is not a regular file", "save its text to a file")
        yield file


class Budget:
    """Counts the bytes that a file expands to and enforces the limits."""

    def __init__(self, path: PurePath, size: int, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._most = max(limits.max_ratio * size, _FREE_BYTES)
        self.spent = 0

    def spend(self, size: int) -> None:
        """Counts bytes expanded from the file.

        Raises:
            UnusableFileError: the total exceeds the limits.
        """
        self.spent += size
        if self.spent > self._limits.max_expanded_bytes:
            reason = f"expands to more than {self._limits.max_expanded_bytes:,} bytes"
            raise UnusableFileError(self._path, reason, "pass a higher --max-expanded-bytes if you trust it")
        if self.spent > self._most:
            reason = f"expands to more than {self._limits.max_ratio} times its size"
            raise UnusableFileError(self._path, reason, "pass a higher --max-ratio if you trust it")


class Bytes:
    """The bytes of a file after decompression; each read checks for a stop request.

    The file may be one over the network: `path` only names it and tells its compression.
    """

    def __init__(self, path: PurePath, file: IO[bytes], reading: Reading) -> None:
        self._path, self._file, self._reading = path, file, reading
        self.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        self.is_compressed = path.suffix.lower() in COMPRESSIONS
        self._stream: Any = _decompressed(file, path) if self.is_compressed else file
        self._budget = Budget(path, self.size, reading.limits) if self.is_compressed else None
        self._given = 0

    def read(self, size: int) -> bytes:
        """Returns the next bytes, empty at the end.

        Raises:
            UnusableFileError: the file is damaged or truncated, or exceeds the limits.
        """
        self._reading.raise_if_stopped()
        try:
            raw: bytes = self._stream.read(size)
        except (OSError, EOFError, ValueError) as error:
            reason = f"is damaged or truncated after {self._given:,} bytes ({why(error)})"
            raise UnusableFileError(self._path, reason, "fetch or compress it again") from error
        self._given += len(raw)
        if self._budget:
            self._budget.spend(len(raw))
        return raw

    @property
    def position(self) -> int:
        """How many bytes of the file itself have been read."""
        return self._file.tell()


@contextmanager
def opened_bytes(path: Path, reading: Reading) -> Iterator[Bytes]:
    """Opens a file as `Bytes`."""
    with opened(path) as file:
        yield Bytes(path, file, reading)


def _decompressed(file: IO[bytes], path: PurePath) -> IO[bytes]:
    import pyarrow

    codec = COMPRESSIONS[path.suffix.lower()]
    return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), codec))
