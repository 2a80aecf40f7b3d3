"""Puts a whole folder in the place of another, so that a kill at any moment loses neither, and nothing foreign goes."""

import re
import secrets
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from revlm.errors import StorageError
from revlm.storage.folder import Folder

Ours = Callable[[Path], Sequence[str] | None]
"""Tells the names of the files in a folder that revlm wrote there; None where it wrote none.

Where a file of them, the manifest, names the others, it comes last.
"""

_LISTED = 3


def require_replaceable(place: Path, ours: Ours) -> None:
    """Raises StorageError where something stands at `place` that is neither an empty folder nor ours to replace."""
    if not place.is_symlink() and not place.exists():
        return
    if place.is_dir() and not place.is_symlink():
        with Folder(place) as folder:
            names, named = folder.names(), ours(place)
            if not names:
                return
            if named is not None:
                require_nothing_foreign(folder, named, "choose another folder with -o")
                return
    raise StorageError(f"{place} exists and revlm did not make it; choose another folder with -o, or remove it")


def require_nothing_foreign(folder: Folder, files: Collection[str], remedy: str) -> None:
    """Raises StorageError where a folder holds anything but files of those names."""
    if foreign := [name for name in folder.names() if name not in files or folder.kind(name) != "file"]:
        listed = ", ".join(foreign[:_LISTED]) + (f" and {len(foreign) - _LISTED} more" if foreign[_LISTED:] else "")
        raise StorageError(f"{folder.path} holds {listed}, which revlm did not write: move it away, or {remedy}")


def put_in_place(new: Path, place: Path, ours: Ours) -> None:
    """Renames a folder to `place`, on the same disk, and removes what stood there.

    That moves away whole, and only when the new folder is in its place are its files removed; whoever reads it
    meanwhile keeps the files that they opened. After a kill the same call again ends the work.

    Raises:
        StorageError: what stands there may not be replaced.
    """
    require_replaceable(place, ours)
    with Folder(place.parent) as parent:
        previous = f".{place.name}.{secrets.token_hex(8)}.previous"
        stood_there = parent.kind(place.name) is not None
        if stood_there:
            parent.rename(place.name, previous)
        try:
            new.rename(place)
        except OSError:
            if stood_there:
                parent.rename(previous, place.name)
            raise
        parent.sync()
        _remove_previous(parent, place.name, ours)


def _remove_previous(parent: Folder, place_name: str, ours: Ours) -> None:
    """Removes what put_in_place moved away, now or before a kill; what was put into it meanwhile stays."""
    name_of_previous = re.compile(rf"\.{re.escape(place_name)}\.[0-9a-f]{{16}}\.previous")
    for name in parent.names():
        if not name_of_previous.fullmatch(name) or parent.kind(name) != "folder":
            continue
        with parent.inside(name) as previous:
            for file in ours(previous.path) or ():
                if previous.kind(file) in {"file", "link"}:
                    previous.remove(file)
        parent.remove_empty(name)
