"""Reads the files inside an e-book, a ZIP archive, within the limits."""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from revlm.corpus.reading.readers.opened import Budget, opened
from revlm.corpus.reading.readers.raw import Reading, UnusableFileError, shown, why

# What libraries raise for damaged bytes; zipfile raises RuntimeError for an encrypted file.
_DAMAGE: tuple[type[Exception], ...] = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, LookupError, OSError, RuntimeError, SyntaxError,
    ValueError,
)  # fmt: skip
_STEP_BYTES = 1 << 20
# Limits of an archive's directory, which zipfile reads whole: bytes per file, and the least limit.
_ENTRY_BYTES, _LEAST_DIRECTORY_BYTES = 512, 1 << 20


class Archive:
    """The files inside an archive, by name."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, size: int, reading: Reading) -> None:
        self._path, self._archive, self._reading = path, archive, reading
        self._budget = Budget(path, size, reading.limits)

    def __contains__(self, name: str) -> bool:
        return name in self._archive.NameToInfo

    def read(self, name: str, most: int | None = None) -> bytes:
        """Returns the bytes of a file inside: at most `most`, or the limit of one chapter.

        Raises:
            UnusableFileError: it is missing, damaged, encrypted or a link, or exceeds the limits; the error names it.
        """
        limit = min(most or self._reading.limits.max_line_bytes, self._reading.limits.max_line_bytes)
        if name not in self:
            raise self.fault(name, "is not in it")
        information = self._archive.getinfo(name)
        if stat.S_ISLNK(information.external_attr >> 16):
            raise self.fault(name, "is a link, which is not followed")
        parts, size = [], 0
        with self.naming(name), self._archive.open(information) as file:
            while part := file.read(_STEP_BYTES):
                self._reading.raise_if_stopped()
                self._budget.spend(len(part))
                size += len(part)
                if size > limit:
                    reason = f"is longer than {limit:,} bytes"
                    raise self.fault(name, reason, "pass a higher --max-line-bytes if you trust it")
                parts.append(part)
        return b"".join(parts)

    @contextmanager
    def naming(self, name: str) -> Iterator[None]:
        """Turns a library's exception inside into an error that quotes it and names the file of the archive."""
        try:
            yield
        except _DAMAGE as error:
            raise self.fault(name, f"is damaged ({why(error)})") from error

    def fault(self, name: str, reason: str, remedy: str = "fetch or make it again") -> UnusableFileError:
        """Returns the error of a file inside."""
        return UnusableFileError(self._path, f"cannot be read: {shown(name)} inside {reason}", remedy)


@contextmanager
def opened_archive(path: Path, reading: Reading) -> Iterator[Archive]:
    """Opens a ZIP archive.

    Raises:
        UnusableFileError: it is not an archive, is damaged, or has more files than the limits allow.
    """
    most = reading.limits.max_members
    too_many = UnusableFileError(path, f"has more than {most:,} files inside", "pass a higher --max-members")
    with opened(path) as file:
        size = path.stat().st_size
        try:
            archive = zipfile.ZipFile(_Bounded(file, max(_ENTRY_BYTES * most, _LEAST_DIRECTORY_BYTES), too_many))
        except (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError, ValueError) as error:
            raise UnusableFileError(path, f"is damaged or not an EPUB ({why(error)})", "fetch it again") from error
        with archive:
            if len(archive.infolist()) > most:
                raise too_many
            yield Archive(path, archive, size, reading)


class _Bounded:
    """A file that refuses a read larger than the limit of a directory, whatever size the archive declares."""

    def __init__(self, file: IO[bytes], most: int, too_many: UnusableFileError) -> None:
        self._file, self._most, self._too_many = file, most, too_many

    def read(self, size: int = -1) -> bytes:
        if size > self._most:
            raise self._too_many
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
