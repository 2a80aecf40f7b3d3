"""Folders that appear whole or not at all: written beside their place and renamed into it at the end."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from revlm.errors import StorageError


@contextmanager
def staged_folder(target: Path, *, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends well, and is removed otherwise.

    An existing folder is replaced where it is empty or `may_replace` says so: it moves away whole, and only
    when the new one is in place is it removed. Whoever reads it meanwhile keeps the files that they opened.

    Raises:
        StorageError: `target` may not be replaced, or it cannot be written (a full disk, for example).
    """
    place = Path(os.path.realpath(target))
    staging: Path | None = None
    try:
        _refuse_to_replace(place, may_replace)
        place.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.staging-", dir=place.parent))
        staging.chmod(0o777 & ~_umask())
        yield staging
        _refuse_to_replace(place, may_replace)
        _put_in_place(staging, place)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space or choose another disk" if full else "choose another folder"
        raise StorageError(f"the folder {target} cannot be written ({reason}); {remedy} with -o") from error
    finally:
        if staging is not None and staging.exists():
            shutil.rmtree(staging, ignore_errors=True)


def _refuse_to_replace(place: Path, may_replace: Callable[[Path], bool]) -> None:
    if not place.exists() or (place.is_dir() and (not any(place.iterdir()) or may_replace(place))):
        return
    raise StorageError(f"{place} exists and revlm did not make it; choose another folder with -o, or remove it")


def _put_in_place(staging: Path, place: Path) -> None:
    if not place.exists():
        staging.rename(place)
        return
    previous = Path(tempfile.mkdtemp(prefix=f".{place.name}.previous-", dir=place.parent))
    place.rename(previous)
    try:
        staging.rename(place)
    except OSError:
        previous.rename(place)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
