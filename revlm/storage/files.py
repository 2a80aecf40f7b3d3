"""Writes that survive a kill or a power cut: data reaches the disk before the name that announces it."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from revlm.errors import StorageError, shortage
from revlm.storage.folder import Folder

_CHUNK_BYTES = 1 << 20


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turns an OSError of the block into a StorageError with the action ("saving x"), the cause and a remedy."""
    try:
        yield
    except OSError as error:
        if short := shortage(error.errno):
            raise StorageError(f"{short[0]} while {action}: {short[1]}") from error
        place = f" ({error.filename})" if error.filename else ""
        raise StorageError(
            f"{action} failed, {error.strerror or error}{place}: give a folder that can be read and written"
        ) from error


def sync_file(path: Path) -> None:
    """Returns once the file's content is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Returns once the folder's entries are on disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_file(path: Path, content: bytes) -> None:
    """Writes a file that does not exist yet; returns once its content is on disk."""
    with Folder(path.parent) as folder:
        folder.write_new(path.name, content)


def append_whole(descriptor: int, content: bytes) -> None:
    """Appends all of the content or, if the disk is full, nothing."""
    before_bytes = os.fstat(descriptor).st_size
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    except OSError:
        os.ftruncate(descriptor, before_bytes)
        raise


def replace_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Replaces a file atomically: a reader, even after a power cut, sees all of the old content or all of the new."""
    with Folder(path.parent) as folder:
        folder.replace(path.name, content)


def json_bytes(value: Any) -> bytes:
    """The value as indented JSON; ValueError for a number that JSON cannot represent."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def require_free_space(folder: Path, needed_bytes: int, purpose: str, remedy: str = "give another output_dir") -> None:
    """Raises StorageError if the disk of the folder has less than `needed_bytes` free."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise StorageError(
            f"disk full: {purpose} needs {needed_bytes / 1e6:,.1f} MB and {folder} has "
            f"{free_bytes / 1e6:,.1f} MB free: free space there, or {remedy}"
        )
