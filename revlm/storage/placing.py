"""Puts a whole folder in the place of another, so that a kill at any moment loses neither."""

import shutil
from collections.abc import Callable
from pathlib import Path

from revlm.errors import StorageError
from revlm.storage.files import sync_folder


def require_replaceable(place: Path, may_replace: Callable[[Path], bool]) -> None:
    """Raises StorageError where something stands at `place` that is neither an empty folder nor ours to replace."""
    if not place.exists() or (place.is_dir() and (not any(place.iterdir()) or may_replace(place))):
        return
    raise StorageError(f"{place} exists and revlm did not make it; choose another folder with -o, or remove it")


def put_in_place(folder: Path, place: Path, may_replace: Callable[[Path], bool]) -> None:
    """Renames a folder to `place`, on the same disk, and removes what stood there.

    That moves away whole, and only when the new folder is in its place is it removed; whoever reads it meanwhile keeps
    the files that they opened. After a kill the same call again ends the work.

    Raises:
        StorageError: what stands there may not be replaced.
    """
    require_replaceable(place, may_replace)
    previous = place.with_name(f".{place.name}.previous")
    if place.exists():
        shutil.rmtree(previous, ignore_errors=True)
        place.rename(previous)
    try:
        folder.rename(place)
    except OSError:
        if previous.exists():
            previous.rename(place)
        raise
    sync_folder(place.parent)
    shutil.rmtree(previous, ignore_errors=True)
