"""The checkpoints that a run has: which there are, whether each is whole, which to keep.

A checkpoint is whole when its manifest is there and every file has the size and sha256 that it says.
"""

import json
import shutil
from collections.abc import Callable, Collection
from os import PathLike
from pathlib import Path
from typing import Any

from revlm.errors import StorageError
from revlm.records.files import step_name, step_of
from revlm.storage import replace_file, sha256_of, storage_errors, sync_folder

MANIFEST = "manifest.json"
STATE = "state.json"
FORMAT = 1

_NONE_WHOLE = (
    "none of the {count} checkpoints of {run} is whole: restore one from a copy, "
    "or give another output_dir to begin again"
)


def list_checkpoints(run: str | PathLike[str]) -> list[Path]:
    """The folders of the run's checkpoints, whole or not, by step."""
    folders = [path for path in (Path(run) / "checkpoints").glob("step-*") if path.is_dir()]
    steps = {step: path for path in folders if (step := step_of(path)) is not None and path.name == step_name(step)}
    return [steps[step] for step in sorted(steps)]


def verify_checkpoint(path: str | PathLike[str], groups: Collection[str] | None = None) -> list[str]:
    """What is wrong with a checkpoint, a phrase each; empty where it is whole.

    With `groups`, only the state and the files of those groups of tensors are looked at.
    """
    path = Path(path)
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            return [f"{MANIFEST} has format {manifest['format']}, this revlm reads {FORMAT}"]
        problems = [] if manifest["step"] == step_of(path) else [f"{MANIFEST} is of step {manifest['step']}"]
        for name in names_of(manifest, groups):
            problems += _file_problems(path / name, manifest["files"].get(name))
    except FileNotFoundError:
        return [f"{MANIFEST} is missing" if path.is_dir() else "there is no such folder"]
    except OSError as error:
        return [f"{error.filename} cannot be read ({error.strerror})"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{MANIFEST} is damaged"]
    return problems


def newest_checkpoint(run: str | PathLike[str], report: Callable[[str], object]) -> Path | None:
    """The newest checkpoint that verifies; None where the run has none at all.

    `report` is told in a sentence of each newer one that was passed over. Raises StorageError where there are
    checkpoints and none is whole: beginning again would lose a run that a person may still rescue.
    """
    candidates = list_checkpoints(run)
    for path in reversed(candidates):
        problems = verify_checkpoint(path)
        if not problems:
            return path
        report(f"passed over the checkpoint {path}, which is not whole: {'; '.join(problems)}")
    if candidates:
        raise StorageError(_NONE_WHOLE.format(count=len(candidates), run=Path(run)))
    return None


def checkpoint_path(run: str | PathLike[str], step: int) -> Path:
    """The checkpoint of that step; raises StorageError that names those there are."""
    path = Path(run) / "checkpoints" / step_name(step)
    if not path.is_dir():
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
        with storage_errors(f"removing the checkpoint {path}"):
            remove_checkpoint(path)
    return paths


def remove_checkpoint(path: Path) -> None:
    """Removes a checkpoint so that a kill in between leaves nothing that looks whole."""
    (path / MANIFEST).unlink(missing_ok=True)
    sync_folder(path)
    shutil.rmtree(path)
    sync_folder(path.parent)


def export_weights(path: str | PathLike[str], target: str | PathLike[str], group: str = "model") -> Path:
    """Copies the verified tensors of one group to a new safetensors file `target`; returns it.

    Raises StorageError where the checkpoint is not whole or the target exists.
    """
    path, target = Path(path), Path(target)
    problems = verify_checkpoint(path, [group])
    if problems:
        raise StorageError(f"checkpoint {path} is not whole, {'; '.join(problems)}: export another one")
    if target.exists():
        raise StorageError(f"{target} exists: give the name of a new file")
    with storage_errors(f"writing {target}"):
        replace_file(target, (path / f"{group}.safetensors").read_bytes())
    return target


def names_of(manifest: dict[str, Any], groups: Collection[str] | None) -> list[str]:
    """The files of a checkpoint to look at: all of its manifest, or the state and those of the groups.

    Raises ValueError where the manifest is not of a checkpoint, or names a file outside its folder.
    """
    if groups is not None:
        return [STATE, *(f"{group}.safetensors" for group in groups)]
    names = list(manifest["files"])
    if STATE not in names or any(Path(name).name != name for name in names):
        raise ValueError(names)
    return names


def _file_problems(path: Path, entry: dict[str, Any] | None) -> list[str]:
    if entry is None:
        return [f"{path.name} is not in the manifest"]
    if not path.is_file():
        return [f"{path.name} is missing"]
    if path.stat().st_size != entry["bytes"]:
        return [f"{path.name} has {path.stat().st_size} of {entry['bytes']} bytes"]
    return [] if sha256_of(path) == entry["sha256"] else [f"{path.name} has another sha256 than when it was saved"]
