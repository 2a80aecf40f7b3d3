"""The folder in which built libraries are kept: nobody else writes there, and what lies there is whole.

A library lies beside its sha256. What a power cut left half written, or anything else has changed, no longer has that
digest and counts as not there: loading half a library would kill the process with SIGBUS.
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
    """Returns where libraries are kept: `$XDG_CACHE_HOME/revlm`, else `~/.cache/revlm`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "revlm"


def require_private(folder: Path) -> None:
    """Returns where a folder, made if there is none, can be written by its owner alone, who is this user or root.

    What others could have put into a folder of this user's is removed from it.

    Raises:
        OSError: it belongs to somebody else, or cannot be made.
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
    """Returns whether a library is there as it was kept."""
    try:
        return sha256_of(library) == _digest_of(library).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return False


def keep(built: Path, library: Path) -> None:
    """Moves a library that was built in another folder of the same disk to its place, and its digest beside it."""
    sync_file(built)
    digest = built.with_name(_digest_of(library).name)
    write_file(digest, sha256_of(built).encode())
    built.replace(library)
    digest.replace(_digest_of(library))
    sync_folder(library.parent)


@contextmanager
def folder_to_build_in(cache: Path) -> Iterator[Path]:
    """Holds a folder inside the cache for one build; what killed builds left there is removed first."""
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
    """Returns the descriptor of a locked folder; None where another has it, or the file system knows no locks."""
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
