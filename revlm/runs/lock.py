"""One process at a time works in a run folder."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revlm.errors import StorageError
from revlm.runs.files import storage_errors

LOCK_NAME = ".lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the folder's lock for the block; StorageError that names the process where another holds it.

    The kernel holds the lock with the open file and releases it when the process ends, however it ends: the
    file that a killed process leaves behind locks nothing. Its content, process and host, is for the message.
    """
    path = folder / LOCK_NAME
    with storage_errors(f"locking the run folder {folder}"):
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"run folder {folder} is in use by {_holder(path)}: wait for it to end, or give another output_dir"
            ) from error
        with storage_errors(f"locking the run folder {folder}"):
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
