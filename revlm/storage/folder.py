"""An open folder: names are resolved only inside it, symbolic links in it are not followed, staging names are random.

A run folder or token store may come from someone else, or be writable by others, so what a name in it leads to is not
trusted. The path of the folder itself is the user's own, and may contain symbolic links.
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

from revlm.errors import StorageError
from revlm.storage.closing import Closing

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: opening a FIFO does not wait
_STAGING_NAME = re.compile(r"\.(.+)\.[0-9a-f]{16}\.staging", re.DOTALL)
_NAME_BYTES = 255 - len(".") - len(".0123456789abcdef.previous")  # of a name that is part of a longer one
_CHUNK_BYTES = 1 << 20
_READ_BYTES = 256 << 20  # the largest file that is read into memory; those of revlm have a few megabytes at most


class Folder(Closing):
    """An existing folder, for access to the names in it; a context manager. OSErrors pass through.

    Raises:
        StorageError: a name to open is a symbolic link, or neither a file nor a folder.
    """

    def __init__(self, path: str | os.PathLike[str], *, through_links: bool = True) -> None:
        """Opens the folder at `path`, which may be a symbolic link itself unless `through_links` is false."""
        self.path = Path(path)
        if not through_links and self.path.is_symlink():
            raise _link(self.path)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if through_links else os.O_NOFOLLOW)
        self.descriptor = os.open(path, flags)

    def close(self) -> None:
        """Closes the folder; its path can still be opened again."""
        os.close(self.descriptor)

    def inside(self, name: str, *, create: bool = False) -> "Folder":
        """The folder of that name in this one; `create` makes it if it does not exist."""
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
        """`file`, `folder`, `link` or `other`; None if the name does not exist."""
        try:
            mode = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        return {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}.get(stat.S_IFMT(mode), "other")

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """The descriptor of a file, opened with flags of os.open such as os.O_CREAT."""
        path = self.path / name
        try:
            descriptor = os.open(name, flags | _NO_LINK, 0o644, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _link(path) from error
            raise OSError(error.errno, error.strerror, str(path)) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StorageError(f"{path} is not a regular file: put the file itself there, or remove it")
        return descriptor

    def read(self, name: str) -> bytes:
        """The content of a file; raises StorageError if it is far larger than any that revlm writes."""
        with os.fdopen(self.open(name), "rb") as file:
            content = file.read(_READ_BYTES + 1)
        if len(content) > _READ_BYTES:
            raise StorageError(f"{self.path / name} is larger than {_READ_BYTES:,} bytes: restore it from a copy")
        return content

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
        """Writes a file that does not exist yet; returns once its content is on disk."""
        descriptor = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            _write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, name: str, content: bytes | Iterable[bytes]) -> None:
        """Replaces a file atomically: a reader, even after a power cut, sees all of the old content or all of the new.

        A symbolic link of that name is replaced, not followed. Staging files that killed calls left for the same name
        are removed.
        """
        self.remove_unfinished(name)
        with self._staging_file(name) as (staging, descriptor):
            for chunk in (content,) if isinstance(content, bytes) else content:
                _write(descriptor, chunk)
            os.fsync(descriptor)
            os.replace(staging, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        self.sync()

    def remove(self, name: str) -> None:
        """Removes a file, a symbolic link itself, or a folder with everything in it."""
        if self.kind(name) == "folder":
            shutil.rmtree(name, dir_fd=self.descriptor)
        else:
            os.unlink(name, dir_fd=self.descriptor)

    def remove_empty(self, name: str) -> bool:
        """Removes a folder if it is empty; returns whether it was."""
        try:
            os.rmdir(name, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
        return True

    def rename(self, name: str, new_name: str) -> None:
        """Renames an entry."""
        os.rename(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def make(self, name: str) -> "Folder":
        """Creates and opens a folder of that name, which must not exist."""
        os.mkdir(name, dir_fd=self.descriptor)
        return self.inside(name)

    def remove_unfinished(self, name: str | None = None) -> None:
        """Removes staging files that killed calls of `replace` left, for one name or all, except those in use."""
        for found in self.names():
            unfinished = unfinished_name(found)
            if unfinished is not None and (name is None or unfinished == short_name(name)):
                self._remove_abandoned(found)

    def sync(self) -> None:
        """Returns once the folder's entries are on disk."""
        os.fsync(self.descriptor)

    def _remove_abandoned(self, name: str) -> None:
        """Removes a staging file that no process has locked, see `_staging_file`."""
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
                pass  # its writer is still alive
            finally:
                os.close(descriptor)

    @contextmanager
    def _staging_file(self, name: str) -> Iterator[tuple[str, int]]:
        """A new file that this process locks, so that no other process takes it for one left by a kill."""
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
        """Whether the file open as `descriptor` is the one of that name."""
        try:
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(descriptor))


def staging_name(name: str) -> str:
    """A random, unpredictable staging name for `name`, see `unfinished_name`."""
    return f".{short_name(name)}.{secrets.token_hex(8)}.staging"


def short_name(name: str) -> str:
    """The name, or a digest of it if the name is too long to be part of a longer name."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _NAME_BYTES else hashlib.sha256(encoded).hexdigest()


def unfinished_name(name: str) -> str | None:
    """The name, as `short_name` gives it, that a staging name stands for; None if it is not a staging name."""
    match = _STAGING_NAME.fullmatch(name)
    return match[1] if match else None


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _link(path: Path) -> StorageError:
    return StorageError(f"{path} is a symbolic link, which revlm does not follow there: replace it with its target")
