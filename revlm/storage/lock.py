"""One process at a time works in a folder."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revlm.errors import StorageError
from revlm.storage.files import storage_errors

LOCK_NAME = ".lock"


@contextmanager
def folder_lock(folder: Path, kind: str, remedy: str) -> Iterator[None]:
    """Holds the lock of a folder of some kind ("run folder") for the block.

    Where another process holds it, a StorageError names that process and ends with the remedy.

    The kernel holds the lock with the open file and releases it when the process ends, however it ends: the
    file that a killed process leaves behind locks nothing. Its content, process and host, is for the message.
    """
    path = folder / LOCK_NAME
    with storage_errors(f"locking the {kind} {folder}"):
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"{kind} {folder} is in use by {_holder(path)}: wait for it to end, or {remedy}"
            ) from error
        with storage_errors(f"locking the {kind} {folder}"):
            os.ftruncate(lock, 0)
            os.write(lock, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        os.close(lock)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it holds the lock and has not written its name yet
