"""Recognizes token stores before anything in them is opened."""

import json
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

MANIFEST = "manifest.json"
# What `datasets` reads besides the rows.
DATASET_FILES = ("dataset_info.json", "state.json")
FORMAT: Final = "revlm token store"
_MANIFEST_BYTES = 1 << 24  # no store has so many files


def is_store(folder: Path) -> bool:
    """Returns whether a folder has the manifest of a token store, of any version; nothing is verified."""
    try:
        return bool(json.loads(manifest_bytes(folder))["format"] == FORMAT)
    except Exception:  # any other file of that name
        return False


def store_files(folder: Path) -> list[str] | None:
    """Returns the files that a folder's manifest names, the manifest last; None where it is not a store."""
    if not is_store(folder):
        return None
    try:
        files = json.loads(manifest_bytes(folder))["files"]
        named = [name for name in files if Path(name).name == name and name != MANIFEST]
    except Exception:  # whatever a damaged manifest holds
        named = []
    return [*named, MANIFEST]


def looks_like_store(folder: Path) -> bool:
    """Returns whether a folder is a store, intact or damaged, rather than something else."""
    return any(os.path.lexists(folder / name) for name in (MANIFEST, *DATASET_FILES))


def manifest_bytes(folder: Path) -> bytes:
    """Returns the content of a manifest; raises OSError where it cannot be read, ValueError where it is too long."""
    with open_regular(folder / MANIFEST) as file:
        content = file.read(_MANIFEST_BYTES + 1)
    if len(content) > _MANIFEST_BYTES:
        raise ValueError(f"it has more than {_MANIFEST_BYTES:,} bytes")
    return content


def open_regular(path: Path) -> BinaryIO:
    """Opens a file for reading; raises OSError, without blocking, for a pipe, a device or a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a regular file")
    return os.fdopen(descriptor, "rb")
