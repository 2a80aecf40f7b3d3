"""Locks a folder, so that one process at a time works in it."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revlm.errors import StorageError
from revlm.storage.files import storage_errors
from revlm.storage.folder import Folder

LOCK_NAME = ".lock"
_BEGINNING = b'{"pid": '
_MAX_BYTES = 4096
_WAIT_SECONDS = 2.0
_POLL_SECONDS = 0.02


class FolderLock:
    """A held lock; see `folder_lock`."""

    def __init__(self, folder: Path, kind: str, descriptor: int) -> None:
        self._folder, self._kind, self._descriptor = folder, kind, descriptor

    def require_held(self) -> None:
        """Raises StorageError if the folder's path no longer leads to the locked folder."""
        try:
            with Folder(self._folder) as folder:
                if folder.holds(LOCK_NAME, self._descriptor):
                    return
        except OSError:
            pass
        raise StorageError(
            f"{self._kind} {self._folder} was moved, removed or replaced while this process worked in it, so this "
            "process stops writing there: move it back and run the same command again"
        )


@contextmanager
def folder_lock(folder: Path, kind: str, remedy: str) -> Iterator[FolderLock]:
    """Locks a folder of some kind ("run folder") for the block.

    If another process holds the lock, raises StorageError that names that process and ends with the remedy.

    The kernel releases the lock when the process ends, however it ends: the file that a killed process leaves behind
    locks nothing. Its content, process and host, is for the message. A child that a killed process had just started
    holds the lock until it runs its own program, so a held lock is tried again for two seconds.
    """
    with storage_errors(f"locking the {kind} {folder}"), Folder(folder) as opened:
        lock = opened.open(LOCK_NAME, os.O_RDWR | os.O_CREAT)
    try:
        with storage_errors(f"locking the {kind} {folder}"):
            if not _locked(lock):
                raise StorageError(f"{kind} {folder} is in use by {_holder(lock)}: wait for it to end, or {remedy}")
            if not _is_ours(os.pread(lock, _MAX_BYTES, 0)):
                raise StorageError(f"{folder / LOCK_NAME} is not a lock file of revlm: move it away, or {remedy}")
            os.ftruncate(lock, 0)
            os.write(lock, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield FolderLock(folder, kind, lock)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    """Locks the file; returns False if another process still holds its lock after `_WAIT_SECONDS`."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
        time.sleep(_POLL_SECONDS)


def _is_ours(content: bytes) -> bool:
    """Whether a lock file holds what this module writes, or the part of it that a kill left."""
    return len(content) < _MAX_BYTES and content[: len(_BEGINNING)] == _BEGINNING[: len(content)]


def _holder(lock: int) -> str:
    try:
        holder = json.loads(os.pread(lock, _MAX_BYTES, 0))
        return f"process {int(holder['pid'])} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"  # it has not written its number yet
