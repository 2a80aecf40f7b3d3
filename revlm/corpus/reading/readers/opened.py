"""Opens the files of a corpus: only regular ones, without waiting, decompressed by their ending, within the limits."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from revlm.corpus.reading.readers.raw import Reading, UnusableFileError, why
from revlm.limits import Limits

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
# As much may come out of any file: a ratio means nothing for a small one.
_FREE_BYTES = 16 << 20


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a regular file; a pipe or device that took its place is refused, and never waited for.

    Raises:
        UnusableFileError: it is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnusableFileError(path, "is no regular file", "save its text to a file")
        yield file


class Budget:
    """How much a file has expanded to, held against the limits."""

    def __init__(self, path: Path, size: int, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._most = max(limits.max_ratio * size, _FREE_BYTES)
        self.spent = 0

    def spend(self, size: int) -> None:
        """Counts bytes that came out of the file.

        Raises:
            UnusableFileError: they are more than the limits allow.
        """
        self.spent += size
        if self.spent > self._limits.max_expanded_bytes:
            reason = f"expands to more than {self._limits.max_expanded_bytes:,} bytes"
            raise UnusableFileError(self._path, reason, "pass a higher --max-expanded-bytes if you trust it")
        if self.spent > self._most:
            reason = f"expands to more than {self._limits.max_ratio} times its size"
            raise UnusableFileError(self._path, reason, "pass a higher --max-ratio if you trust it")


class Bytes:
    """The bytes of a file after decompression, read in steps that heed a stop."""

    def __init__(self, path: Path, file: IO[bytes], reading: Reading) -> None:
        self._path, self._file, self._reading = path, file, reading
        self.is_compressed = path.suffix.lower() in COMPRESSIONS
        self._stream: Any = _decompressed(file, path) if self.is_compressed else file
        self.size = os.fstat(file.fileno()).st_size
        self._budget = Budget(path, self.size, reading.limits) if self.is_compressed else None
        self._given = 0

    def read(self, size: int) -> bytes:
        """Returns the next bytes, none at the end.

        Raises:
            UnusableFileError: they are damaged or cut off, or more than the limits allow.
        """
        self._reading.raise_if_stopped()
        try:
            raw: bytes = self._stream.read(size)
        except (OSError, EOFError, ValueError) as error:
            reason = f"is damaged or cut off after {self._given:,} bytes ({why(error)})"
            raise UnusableFileError(self._path, reason, "fetch or compress it again") from error
        self._given += len(raw)
        if self._budget:
            self._budget.spend(len(raw))
        return raw

    @property
    def position(self) -> int:
        """How much of the file itself is read."""
        return self._file.tell()


@contextmanager
def opened_bytes(path: Path, reading: Reading) -> Iterator[Bytes]:
    """Opens a file for `Bytes`."""
    with opened(path) as file:
        yield Bytes(path, file, reading)


def _decompressed(file: IO[bytes], path: Path) -> IO[bytes]:
    import pyarrow

    codec = COMPRESSIONS[path.suffix.lower()]
    return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), codec))
