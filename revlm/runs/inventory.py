"""The checkpoints of a run: lists, verifies and prunes them.

A checkpoint is intact if it has a manifest and every file has the size and sha256 in it. A run whose checkpoints cannot
be listed, or are gone, is not taken for a new run: `checkpoints.json` in the run folder records that one was saved.
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

_NONE_INTACT = (
    "none of the {count} checkpoints of {run} is intact: restore one from a copy, "
    "or give another output_dir to start again"
)
_NONE_LEFT = (
    "{run} has saved checkpoints but {folder} has none: mount the disk or restore the folder that holds them, or give "
    "another output_dir to start again"
)


def list_checkpoints(run: str | PathLike[str]) -> list[Path]:
    """The run's checkpoints, intact or not, by step; raises StorageError if their folder cannot be listed.

    The list includes symbolic links, which count as damaged.
    """
    try:
        with _listing(run), Folder(run) as root, root.inside(CHECKPOINTS) as folder:
            names = [name for name in folder.names() if _is_name(name) and folder.kind(name) in {"folder", "link"}]
    except FileNotFoundError:
        return []
    return sorted((Path(run) / CHECKPOINTS / name for name in names), key=lambda path: step_of(path) or 0)


def verify_checkpoint(path: str | PathLike[str], groups: Collection[str] | None = None) -> list[str]:
    """The problems of a checkpoint, a phrase each; empty if it is intact.

    With `groups`, only the state and those groups of tensors are verified.
    """
    path = Path(path)
    try:
        with Folder(path.parent, through_links=False) as checkpoints:
            if checkpoints.kind(path.name) == "link":
                return ["it is a symbolic link, which revlm does not follow there"]
            with checkpoints.inside(path.name) as folder:
                return _problems(folder, groups)
    except FileNotFoundError:
        return ["there is no such folder"]
    except StorageError as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename or path} cannot be read ({error.strerror})"]


def read_manifest(folder: Folder) -> dict[str, Any]:
    """The manifest of a checkpoint; ValueError if it differs in any byte from what was written."""
    content = folder.read(MANIFEST)
    manifest: dict[str, Any] = json.loads(content)
    if content != json_bytes(manifest):
        raise ValueError(MANIFEST)
    return manifest


def newest_checkpoint(run: str | PathLike[str], report: Callable[[str], object]) -> Path | None:
    """The newest intact checkpoint; None if the run never saved one.

    `report` receives a sentence for each newer checkpoint that is skipped. Raises StorageError if all checkpoints are
    damaged or gone, or cannot be listed: starting again would lose a run that can still be rescued.
    """
    candidates = list_checkpoints(run)
    for path in reversed(candidates):
        problems = verify_checkpoint(path)
        if not problems:
            return path
        report(f"skipped the checkpoint {path}, which is damaged: {'; '.join(problems)}")
    if candidates:
        raise StorageError(_NONE_INTACT.format(count=len(candidates), run=Path(run)))
    if os.path.lexists(Path(run) / _SAVED):
        raise StorageError(_NONE_LEFT.format(run=Path(run), folder=Path(run) / CHECKPOINTS))
    return None


def checkpoint_path(run: str | PathLike[str], step: int) -> Path:
    """The checkpoint of a step; raises StorageError, with the steps that exist, if there is none."""
    path = Path(run) / CHECKPOINTS / step_name(step)
    if path not in list_checkpoints(run):
        steps = ", ".join(str(step_of(other)) for other in list_checkpoints(run)) or "none"
        raise StorageError(f"no checkpoint of step {step} in {Path(run)}: it has {steps}")
    return path


def prune_checkpoints(
    run: str | PathLike[str], keep_last: int, keep_every: int = 0, newest_step: int | None = None
) -> list[Path]:
    """Removes all but the newest `keep_last` checkpoints, without verifying them; returns what was removed.

    Checkpoints of every `keep_every`-th step are kept as well. Those after `newest_step` are neither counted nor
    removed: a run that resumed from an older checkpoint has yet to reach them, and they must not displace new ones.
    """
    reached = [path for path in list_checkpoints(run) if newest_step is None or (step_of(path) or 0) <= newest_step]
    return _remove([path for path in reached[:-keep_last] if not is_kept_forever(step_of(path) or 0, keep_every)])


def is_kept_forever(step: int, keep_every: int) -> bool:
    """Whether pruning never removes the checkpoint of this step."""
    return step > 0 and keep_every > 0 and step % keep_every == 0


def prune_to_intact(run: str | PathLike[str], keep_last: int, keep_every: int = 0) -> list[Path]:
    """Removes all checkpoints except the newest `keep_last` intact ones and intact ones of every `keep_every`-th step.

    Returns what was removed. Raises StorageError, and removes nothing, if all checkpoints are damaged.
    """
    found = list_checkpoints(run)
    intact = [path for path in found if not verify_checkpoint(path)]
    if found and not intact:
        raise StorageError(_NONE_INTACT.format(count=len(found), run=Path(run)))
    kept = {*intact[-keep_last:], *(path for path in intact if is_kept_forever(step_of(path) or 0, keep_every))}
    return _remove([path for path in found if path not in kept])


def _remove(paths: list[Path]) -> list[Path]:
    for path in paths:
        with storage_errors(f"removing the checkpoint {path}"), Folder(path.parent, through_links=False) as folder:
            remove_checkpoint(folder, path.name)
    return paths


def remove_checkpoint(folder: Folder, name: str) -> None:
    """Removes a checkpoint, manifest first, so that a kill in between leaves nothing that looks intact.

    A symbolic link is removed, not followed. Files that do not belong to a checkpoint are kept, and their folder too.
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
    """Removes staging folders of killed saves and replaced checkpoints; the caller must hold the run's lock."""
    for name in folder.names():
        if _is_name(unfinished_name(name) or ""):
            remove_checkpoint(folder, name)


def record_saved_step(run: str | PathLike[str], step: int) -> None:
    """Records in the run folder that a checkpoint was saved, and its step."""
    path, content = Path(run) / _SAVED, json_bytes({"newest_step": step})
    with storage_errors(f"writing {path}"), Folder(run) as folder:
        if folder.kind(_SAVED) != "file" or folder.read(_SAVED) != content:
            folder.replace(_SAVED, content)


def export_weights(path: str | PathLike[str], target: str | PathLike[str], group: str = "model") -> Path:
    """Verifies one group of tensors and copies it to a new safetensors file `target`; returns `target`.

    Raises StorageError if the group is damaged or the target exists.
    """
    path, target = Path(path), Path(target)
    problems = verify_checkpoint(path, [group])
    if problems:
        raise StorageError(f"checkpoint {path} is damaged, {'; '.join(problems)}: export another one")
    if os.path.lexists(target):
        raise StorageError(f"{target} exists: give the name of a new file")
    with storage_errors(f"writing {target}"), Folder(path, through_links=False) as folder:
        replace_file(target, folder.chunks(f"{group}{_TENSORS}"))
    return target


@contextmanager
def _listing(run: str | PathLike[str]) -> Iterator[None]:
    """Turns an OSError of the block into a StorageError, except for a folder that does not exist."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(
            f"the checkpoints of {Path(run)} cannot be listed ({error.strerror}): make {Path(run) / CHECKPOINTS} a "
            "readable folder"
        ) from error


def _is_name(name: str) -> bool:
    step = step_of(Path(name))
    return step is not None and name == step_name(step)


def _files_of(checkpoint: Folder) -> list[str]:
    """The files of a checkpoint: those in its manifest, or without a readable manifest those named like its files."""
    try:
        named = {*names_of(read_manifest(checkpoint), None)}
    except (OSError, StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        named = {name for name in checkpoint.names() if name == STATE or name.endswith(_TENSORS)}
    return [name for name in checkpoint.names() if name in named and checkpoint.kind(name) != "folder"]


def _problems(folder: Folder, groups: Collection[str] | None) -> list[str]:
    try:
        manifest = read_manifest(folder)
        if manifest["format"] != FORMAT:
            return [f"{MANIFEST} has format {manifest['format']}, and this version of revlm reads {FORMAT}"]
        problems = [] if manifest["step"] == step_of(folder.path) else [f"{MANIFEST} is of step {manifest['step']}"]
        for name in names_of(manifest, groups):
            problems += _file_problems(folder, name, manifest["files"].get(name))
    except FileNotFoundError:
        return [f"{MANIFEST} is missing"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [f"{MANIFEST} is damaged"]
    return problems


def names_of(manifest: dict[str, Any], groups: Collection[str] | None) -> list[str]:
    """The files of a checkpoint to verify: all in its manifest, or the state and those of the groups.

    Raises ValueError if the manifest is not a checkpoint's, or names a file outside its folder.
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
        return [f"{name} is {'missing' if kind is None else 'not a file but a ' + kind}"]
    if folder.size_bytes(name) != entry["bytes"]:
        return [f"{name} has {folder.size_bytes(name)} of {entry['bytes']} bytes"]
    return (
        [] if folder.sha256(name) == entry["sha256"] else [f"{name} does not have the sha256 with which it was saved"]
    )
