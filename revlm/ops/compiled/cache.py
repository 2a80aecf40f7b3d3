"""The cache of built libraries, which only this user can write and whose content is verified.

Each library has its sha256 in a file beside it. A library that a power failure truncated, or that changed otherwise,
no longer matches and counts as missing: loading a truncated library would kill the process with SIGBUS.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revlm.storage import sha256_of, sync_file, sync_folder, write_file

_BUILDING = "building-"


def cache_folder() -> Path:
    """Returns the folder of built libraries: `$XDG_CACHE_HOME/revlm`, otherwise `~/.cache/revlm`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "revlm"


def require_private(folder: Path) -> None:
    """Makes sure that a folder exists and that only its owner, this user or root, can write to it.

    Libraries that other users could have written to a folder of this user are deleted.

    Raises:
        OSError: the folder belongs to another user, or cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    own, trusted = os.geteuid(), {os.geteuid(), 0}
    found = folder.stat()
    if found.st_uid not in trusted or folder.lstat().st_uid not in trusted:
        raise PermissionError(f"{folder} belongs to another user")
    others_write = bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    if others_write and found.st_uid != own:
        raise PermissionError(f"{folder} can be written by other users")
    if found.st_uid == own and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) and os.access(folder, os.W_OK):
        folder.chmod(0o700)
        if others_write:
            for library in folder.glob("revlm-*"):
                library.unlink()


def is_whole(library: Path) -> bool:
    """Returns whether a library exists and matches its digest."""
    try:
        return sha256_of(library) == _digest_of(library).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return False


def keep(built: Path, library: Path) -> None:
    """Moves a built library, from a folder on the same disk, and its digest into the cache."""
    sync_file(built)
    digest = built.with_name(_digest_of(library).name)
    write_file(digest, sha256_of(built).encode())
    built.replace(library)
    digest.replace(_digest_of(library))
    sync_folder(library.parent)


@contextmanager
def folder_to_build_in(cache: Path) -> Iterator[Path]:
    """Yields a folder inside the cache for one build, after removing those of killed builds."""
    with _locked(cache):
        for left in cache.glob(f"{_BUILDING}*"):
            if (descriptor := _lock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(descriptor)
        folder = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=cache))
        held = _lock(folder, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _digest_of(library: Path) -> Path:
    return library.with_name(f"{library.name}.sha256")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    held = _lock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def _lock(folder: Path, how: int) -> int | None:
    """Returns the descriptor of a locked folder; None where it is already locked, or locks are not supported."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
