"""A folder held open: names are looked up in it alone, no link among them is followed, staging names are random.

Whoever hands a run folder or a token store on, and whoever else may write in it, decides what its names lead to. The
path of the folder itself is the user's own, and may lead through links.
"""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from revlm.errors import StorageError

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # nor is a FIFO waited for
_STAGING_NAME = re.compile(r"\.(.+)\.[0-9a-f]{16}\.staging", re.DOTALL)
_CHUNK_BYTES = 1 << 20


class Folder:
    """A folder that exists, for the names in it; a context manager. OSErrors of the system are raised as they are.

    Raises:
        StorageError: a name that is to be opened is a link, or something else than a file or folder.
    """

    def __init__(self, path: str | os.PathLike[str], *, through_links: bool = True) -> None:
        """Opens the folder at `path`, whose last part may be a link unless `through_links` is false."""
        self.path = Path(path)
        if not through_links and self.path.is_symlink():
            raise _link(self.path)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if through_links else os.O_NOFOLLOW)
        self.descriptor = os.open(path, flags)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def inside(self, name: str, *, create: bool = False) -> "Folder":
        """The folder of that name in this one; with `create`, made where there is none."""
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=self.descriptor)
        if self.kind(name) == "link":
            raise _link(self.path / name)
        inner = Folder.__new__(Folder)
        inner.path = self.path / name
        try:
            inner.descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK, dir_fd=self.descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(inner.path)) from error
        return inner

    def names(self) -> list[str]:
        """All names in the folder, sorted."""
        return sorted(os.listdir(self.descriptor))

    def kind(self, name: str) -> str | None:
        """`file`, `folder`, `link` or `other`; None where there is nothing of that name."""
        try:
            mode = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        return {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}.get(stat.S_IFMT(mode), "other")

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """The descriptor of a file; with the flags of os.open, such as os.O_CREAT."""
        path = self.path / name
        try:
            descriptor = os.open(name, flags | _NO_LINK, 0o644, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _link(path) from error
            raise OSError(error.errno, error.strerror, str(path)) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StorageError(f"{path} is no file: put the file itself there, or remove it")
        return descriptor

    def read(self, name: str) -> bytes:
        """The content of a file."""
        with os.fdopen(self.open(name), "rb") as file:
            return file.read()

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a file, in pieces of at most a megabyte."""
        with os.fdopen(self.open(name), "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def sha256(self, name: str) -> str:
        """The sha256 of a file's content, in hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.chunks(name):
            digest.update(chunk)
        return digest.hexdigest()

    def size_bytes(self, name: str) -> int:
        """The size of a file."""
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_size

    def write_new(self, name: str, content: bytes) -> None:
        """Writes a file that is not there yet, and returns when its content is on the disk."""
        descriptor = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            _write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, name: str, content: bytes | Iterable[bytes]) -> None:
        """Writes a file so that a reader, even after a power cut, sees all the old content or all the new.

        A link of that name is replaced, not followed. What killed calls for the same name left is removed.
        """
        self.remove_unfinished(name)
        with self._staging_file(name) as (staging, descriptor):
            for chunk in (content,) if isinstance(content, bytes) else content:
                _write(descriptor, chunk)
            os.fsync(descriptor)
            os.replace(staging, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        self.sync()

    def remove(self, name: str) -> None:
        """Removes a file, a link as a link, or a folder with all that is in it."""
        if self.kind(name) == "folder":
            shutil.rmtree(name, dir_fd=self.descriptor)
        else:
            os.unlink(name, dir_fd=self.descriptor)

    def remove_empty(self, name: str) -> bool:
        """Removes a folder where nothing is in it; returns whether it was so."""
        try:
            os.rmdir(name, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
        return True

    def rename(self, name: str, new_name: str) -> None:
        """Gives what has a name another one."""
        os.rename(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def make(self, name: str) -> "Folder":
        """A new folder of that name, which must be free."""
        os.mkdir(name, dir_fd=self.descriptor)
        return self.inside(name)

    def remove_unfinished(self, name: str | None = None) -> None:
        """Removes the files that killed calls of `replace` left, for one name or all; those in work stay."""
        for found in self.names():
            unfinished = unfinished_name(found)
            if unfinished is not None and name in (None, unfinished):
                self._remove_abandoned(found)

    def sync(self) -> None:
        """Returns when the folder's list of names is on the disk."""
        os.fsync(self.descriptor)

    def _remove_abandoned(self, name: str) -> None:
        """Removes a staging file that no process holds, see `_staging_file`."""
        kind = self.kind(name)
        if kind == "link":
            os.unlink(name, dir_fd=self.descriptor)
        if kind != "file":
            return
        with suppress(FileNotFoundError):
            descriptor = self.open(name)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=self.descriptor)
            except BlockingIOError:
                pass  # its writer lives
            finally:
                os.close(descriptor)

    @contextmanager
    def _staging_file(self, name: str) -> Iterator[tuple[str, int]]:
        """A new file that its process holds the lock of, so that nobody else takes it for one left by a kill."""
        while True:
            staging = staging_name(name)
            descriptor = self.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self.holds(staging, descriptor):  # else it was removed before it was locked
                break
            os.close(descriptor)
        try:
            yield staging, descriptor
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(staging, dir_fd=self.descriptor)
            raise
        finally:
            os.close(descriptor)

    def holds(self, name: str, descriptor: int) -> bool:
        """Whether the file that is open as `descriptor` is the one of that name."""
        try:
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(descriptor))


def staging_name(name: str) -> str:
    """A name that nobody can foresee for what is to become `name`, see `unfinished_name`."""
    return f".{name}.{secrets.token_hex(8)}.staging"


def unfinished_name(name: str) -> str | None:
    """What was to become of something with a staging name; None where it is no staging name."""
    match = _STAGING_NAME.fullmatch(name)
    return match[1] if match else None


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _link(path: Path) -> StorageError:
    return StorageError(f"{path} is a symbolic link, and revlm follows none in a folder: put what it leads to there")
