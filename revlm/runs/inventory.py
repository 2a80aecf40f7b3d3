"""The checkpoints that a run has: which there are, whether each is whole, which to keep.

A checkpoint is whole when its manifest is there and every file has the size and sha256 that it says. A run whose
checkpoints cannot be listed, or which had some and has none, is not a new one: `checkpoints.json` in the run folder
says that there was one.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from revlm.errors import StorageError
from revlm.records.files import CHECKPOINTS, step_name, step_of
from revlm.storage import Folder, json_bytes, replace_file, storage_errors, unfinished_name

MANIFEST = "manifest.json"
STATE = "state.json"
FORMAT = 1
_TENSORS = ".safetensors"
_SAVED = "checkpoints.json"

_NONE_WHOLE = (
    "none of the {count} checkpoints of {run} is whole: restore one from a copy, "
    "or give another output_dir to begin again"
)
_NONE_LEFT = (
    "{run} has had checkpoints and none is in {folder}: mount the disk or restore the folder that holds them, or give "
    "another output_dir to begin again"
)


def list_checkpoints(run: str | PathLike[str]) -> list[Path]:
    """The run's checkpoints, whole or not, by step; StorageError where the folder that holds them cannot be listed.

    One that is a link is among them, as one that is not whole.
    """
    try:
        with _listing(run), Folder(run) as root, root.inside(CHECKPOINTS) as folder:
            names = [name for name in folder.names() if _is_name(name) and folder.kind(name) in {"folder", "link"}]
    except FileNotFoundError:
        return []
    return sorted((Path(run) / CHECKPOINTS / name for name in names), key=lambda path: step_of(path) or 0)


def verify_checkpoint(path: str | PathLike[str], groups: Collection[str] | None = None) -> list[str]:
    """What is wrong with a checkpoint, a phrase each; empty where it is whole.

    With `groups`, only the state and the files of those groups of tensors are looked at.
    """
    path = Path(path)
    try:
        with Folder(path.parent, through_links=False) as checkpoints:
            if checkpoints.kind(path.name) == "link":
                return ["it is a symbolic link, and revlm follows none in a folder"]
            with checkpoints.inside(path.name) as folder:
                return _problems(folder, groups)
    except FileNotFoundError:
        return ["there is no such folder"]
    except StorageError as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename or path} cannot be read ({error.strerror})"]


def read_manifest(folder: Folder) -> dict[str, Any]:
    """The manifest of a checkpoint; ValueError where it is not what was written, to the bit."""
    content = folder.read(MANIFEST)
    manifest: dict[str, Any] = json.loads(content)
    if content != json_bytes(manifest):
        raise ValueError(MANIFEST)
    return manifest


def newest_checkpoint(run: str | PathLike[str], report: Callable[[str], object]) -> Path | None:
    """The newest checkpoint that verifies; None where the run never had one.

    `report` is told in a sentence of each newer one that was passed over. Raises StorageError where there are
    checkpoints and none is whole, or there were some, or they cannot be listed: beginning again would lose a run that
    a person may still rescue.
    """
    candidates = list_checkpoints(run)
    for path in reversed(candidates):
        problems = verify_checkpoint(path)
        if not problems:
            return path
        report(f"passed over the checkpoint {path}, which is not whole: {'; '.join(problems)}")
    if candidates:
        raise StorageError(_NONE_WHOLE.format(count=len(candidates), run=Path(run)))
    if os.path.lexists(Path(run) / _SAVED):
        raise StorageError(_NONE_LEFT.format(run=Path(run), folder=Path(run) / CHECKPOINTS))
    return None


def checkpoint_path(run: str | PathLike[str], step: int) -> Path:
    """The checkpoint of that step; raises StorageError that names those there are."""
    path = Path(run) / CHECKPOINTS / step_name(step)
    if path not in list_checkpoints(run):
        steps = ", ".join(str(step_of(other)) for other in list_checkpoints(run)) or "none"
        raise StorageError(f"no checkpoint of step {step} in {Path(run)}: it has {steps}")
    return path


def prune_checkpoints(
    run: str | PathLike[str], keep_last: int, keep_every: int = 0, newest_step: int | None = None
) -> list[Path]:
    """Removes all but the newest `keep_last` checkpoints, without verifying them; returns what was removed.

    Those of every `keep_every`-th step stay as well. Those beyond `newest_step` are neither counted nor removed: a run
    that went back to an older one has yet to reach them, and they must not push out those it has just saved.
    """
    reached = [path for path in list_checkpoints(run) if newest_step is None or (step_of(path) or 0) <= newest_step]
    return _remove([path for path in reached[:-keep_last] if not is_kept_for_ever(step_of(path) or 0, keep_every)])


def is_kept_for_ever(step: int, keep_every: int) -> bool:
    """Whether a checkpoint of that step is one of those that pruning leaves."""
    return step > 0 and keep_every > 0 and step % keep_every == 0


def prune_to_whole(run: str | PathLike[str], keep_last: int, keep_every: int = 0) -> list[Path]:
    """Removes all checkpoints but those that verify and are the newest `keep_last` or of every `keep_every`-th step.

    Returns what was removed. Raises StorageError, and removes nothing, where there are checkpoints and none is whole.
    """
    found = list_checkpoints(run)
    whole = [path for path in found if not verify_checkpoint(path)]
    if found and not whole:
        raise StorageError(_NONE_WHOLE.format(count=len(found), run=Path(run)))
    kept = {*whole[-keep_last:], *(path for path in whole if is_kept_for_ever(step_of(path) or 0, keep_every))}
    return _remove([path for path in found if path not in kept])


def _remove(paths: list[Path]) -> list[Path]:
    for path in paths:
        with storage_errors(f"removing the checkpoint {path}"), Folder(path.parent, through_links=False) as folder:
            remove_checkpoint(folder, path.name)
    return paths


def remove_checkpoint(folder: Folder, name: str) -> None:
    """Removes a checkpoint from a folder so that a kill in between leaves nothing that looks whole.

    A link is removed as a link. Of a folder its manifest goes first; files that no checkpoint has stay, and it with
    them.
    """
    if folder.kind(name) != "folder":
        folder.remove(name)
        return
    with folder.inside(name) as checkpoint:
        files = _files_of(checkpoint)
        if checkpoint.kind(MANIFEST):
            checkpoint.remove(MANIFEST)
            checkpoint.sync()
        for file in files:
            checkpoint.remove(file)
    folder.remove_empty(name)
    folder.sync()


def remove_staging(folder: Folder) -> None:
    """Removes what saves left that were killed, or that replaced a checkpoint; whoever saves holds the run's lock."""
    for name in folder.names():
        if _is_name(unfinished_name(name) or ""):
            remove_checkpoint(folder, name)


def note_saved(run: str | PathLike[str], step: int) -> None:
    """Writes into the run folder that a checkpoint, now of this step, stands."""
    path, content = Path(run) / _SAVED, json_bytes({"newest_step": step})
    with storage_errors(f"writing {path}"), Folder(run) as folder:
        if folder.kind(_SAVED) != "file" or folder.read(_SAVED) != content:
            folder.replace(_SAVED, content)


def export_weights(path: str | PathLike[str], target: str | PathLike[str], group: str = "model") -> Path:
    """Copies the verified tensors of one group to a new safetensors file `target`; returns it.

    Raises StorageError where the checkpoint is not whole or the target exists.
    """
    path, target = Path(path), Path(target)
    problems = verify_checkpoint(path, [group])
    if problems:
        raise StorageError(f"checkpoint {path} is not whole, {'; '.join(problems)}: export another one")
    if os.path.lexists(target):
        raise StorageError(f"{target} exists: give the name of a new file")
    with storage_errors(f"writing {target}"), Folder(path, through_links=False) as folder:
        replace_file(target, folder.chunks(f"{group}{_TENSORS}"))
    return target


@contextmanager
def _listing(run: str | PathLike[str]) -> Iterator[None]:
    """Turns an OSError of the block into a StorageError, but for a folder that is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(
            f"the checkpoints of {Path(run)} cannot be listed ({error.strerror}): make {Path(run) / CHECKPOINTS} a "
            "folder that can be read"
        ) from error


def _is_name(name: str) -> bool:
    step = step_of(Path(name))
    return step is not None and name == step_name(step)


def _files_of(checkpoint: Folder) -> list[str]:
    """The names in a checkpoint's folder that are of it: those of its manifest, else those that one may have."""
    try:
        named = {*names_of(read_manifest(checkpoint), None)}
    except (OSError, StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        named = {name for name in checkpoint.names() if name == STATE or name.endswith(_TENSORS)}
    return [name for name in checkpoint.names() if name in named and checkpoint.kind(name) != "folder"]


def _problems(folder: Folder, groups: Collection[str] | None) -> list[str]:
    try:
        manifest = read_manifest(folder)
        if manifest["format"] != FORMAT:
            return [f"{MANIFEST} has format {manifest['format']}, this revlm reads {FORMAT}"]
        problems = [] if manifest["step"] == step_of(folder.path) else [f"{MANIFEST} is of step {manifest['step']}"]
        for name in names_of(manifest, groups):
            problems += _file_problems(folder, name, manifest["files"].get(name))
    except FileNotFoundError:
        return [f"{MANIFEST} is missing"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [f"{MANIFEST} is damaged"]
    return problems


def names_of(manifest: dict[str, Any], groups: Collection[str] | None) -> list[str]:
    """The files of a checkpoint to look at: all of its manifest, or the state and those of the groups.

    Raises ValueError where the manifest is not of a checkpoint, or names a file outside its folder.
    """
    if groups is not None:
        return [STATE, *(f"{group}{_TENSORS}" for group in groups)]
    names = list(manifest["files"])
    if STATE not in names or any(Path(name).name != name for name in names):
        raise ValueError(names)
    return names


def _file_problems(folder: Folder, name: str, entry: dict[str, Any] | None) -> list[str]:
    if entry is None:
        return [f"{name} is not in the manifest"]
    kind = folder.kind(name)
    if kind != "file":
        return [f"{name} is {'missing' if kind is None else 'no file but a ' + kind}"]
    if folder.size_bytes(name) != entry["bytes"]:
        return [f"{name} has {folder.size_bytes(name)} of {entry['bytes']} bytes"]
    return [] if folder.sha256(name) == entry["sha256"] else [f"{name} has another sha256 than when it was saved"]
