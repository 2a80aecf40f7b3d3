"""Puts a new folder in place of an existing one, or of none, so that a kill at any moment loses neither.

Files that revlm did not write are never removed.
"""

import re
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from revlm.errors import StorageError
from revlm.storage.folder import Folder, short_name, staging_name

Ours = Callable[[Path], Sequence[str] | None]
"""Returns the names of the files that revlm wrote in a folder; None if it wrote none.

If one of them, the manifest, names the others, it comes last.
"""

_LISTED = 3


@contextmanager
def staged_folder(parent: Folder, name: str, *, replace: bool = False) -> Iterator[Folder]:
    """A new folder that gets its `name` in `parent` once the block ends; after an error it is removed.

    The block writes its files and syncs them. With `replace` an entry of that name gets a staging name first; without,
    it must not exist.
    """
    staging = staging_name(name)
    try:
        with parent.make(staging) as folder:
            yield folder
            folder.sync()
        if replace and parent.kind(name):
            parent.rename(name, staging_name(name))
        parent.rename(staging, name)
    except BaseException:
        with suppress(OSError):
            parent.remove(staging)
        raise
    parent.sync()


def require_replaceable(place: Path, ours: Ours) -> None:
    """Raises StorageError if `place` exists and is neither an empty folder nor a folder that revlm wrote alone."""
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
    """Raises StorageError if a folder holds anything except files of those names."""
    if foreign := [name for name in folder.names() if name not in files or folder.kind(name) != "file"]:
        listed = ", ".join(foreign[:_LISTED]) + (f" and {len(foreign) - _LISTED} more" if foreign[_LISTED:] else "")
        raise StorageError(f"{folder.path} holds {listed}, which revlm did not write: move it away, or {remedy}")


def put_in_place(new: Path, place: Path, ours: Ours) -> None:
    """Renames a folder to `place`, on the same disk, and removes the folder that was there.

    The old folder is renamed first, and its files are removed only once the new one is in place; a reader keeps the
    files that it has open. After a kill, the same call finishes the work.

    Raises:
        StorageError: the old folder may not be replaced.
    """
    require_replaceable(place, ours)
    with Folder(place.parent) as parent:
        previous = f".{short_name(place.name)}.{secrets.token_hex(8)}.previous"
        existed = parent.kind(place.name) is not None
        if existed:
            parent.rename(place.name, previous)
        try:
            new.rename(place)
        except OSError:
            if existed:
                parent.rename(previous, place.name)
            raise
        parent.sync()
        _remove_previous(parent, place.name, ours)


def _remove_previous(parent: Folder, place_name: str, ours: Ours) -> None:
    """Removes folders that put_in_place renamed, now or before a kill; files that others added to them stay."""
    name_of_previous = re.compile(rf"\.{re.escape(short_name(place_name))}\.[0-9a-f]{{16}}\.previous")
    for name in parent.names():
        if not name_of_previous.fullmatch(name) or parent.kind(name) != "folder":
            continue
        with parent.inside(name) as previous:
            for file in ours(previous.path) or ():
                if previous.kind(file) in {"file", "link"}:
                    previous.remove(file)
        parent.remove_empty(name)
