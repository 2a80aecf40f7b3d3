"""Checkpoints: folders of safetensors and JSON, written atomically.

Layout of RUN/checkpoints/step-00000200: one `<group>.safetensors` for each group of tensors, `state.json`, and
`manifest.json` with the size and sha256 of each file. Everything is written to a staging folder next to it, the
manifest last, and the folder is then renamed: a folder of that name with a manifest is complete. Removal
deletes the manifest first. Checkpoints never read or write a pickle.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from revlm.errors import StorageError
from revlm.records.files import CHECKPOINTS, step_name
from revlm.runs.inventory import (
    FORMAT,
    MANIFEST,
    STATE,
    names_of,
    prune_checkpoints,
    read_manifest,
    record_saved_step,
    remove_staging,
    verify_checkpoint,
)
from revlm.storage import Folder, json_bytes, require_free_space, staged_folder, storage_errors, sync_file

if TYPE_CHECKING:
    from torch import Tensor

_HEADER_BYTES = 1 << 20  # for headers, manifest and file-system blocks


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint; its `tensors` are memory-mapped, so they take memory only once they are read."""

    path: Path
    step: int
    tensors: "dict[str, dict[str, Tensor]]"
    """group -> name -> tensor"""
    state: dict[str, Any]


def save_checkpoint(
    run: str | PathLike[str],
    step: int,
    tensors: "Mapping[str, Mapping[str, Tensor]]",
    state: Mapping[str, Any],
    keep_last: int,
    keep_every: int = 0,
) -> Path:
    """Saves a checkpoint of the run at `step`, then prunes older ones (see `prune_checkpoints`); returns its folder.

    `tensors` are groups of named tensors, such as {"model": ..., "optimizer": ...}; `state` holds JSON values (tuples
    are read back as lists). Raises StorageError, and leaves older checkpoints as they are, if the disk is full or
    cannot be written.
    """
    target = Path(run) / CHECKPOINTS / step_name(step)
    state_content = json_bytes(dict(state))
    with (
        storage_errors(f"saving the checkpoint {target}"),
        Folder(run) as root,
        root.inside(CHECKPOINTS, create=True) as folder,
    ):
        remove_staging(folder)
        tensor_bytes = sum(tensor.nbytes for group in tensors.values() for tensor in group.values())
        require_free_space(folder.path, tensor_bytes + len(state_content) + _HEADER_BYTES, f"the checkpoint {target}")
        # A damaged checkpoint of this step may exist, if the run resumed from an older one.
        with staged_folder(folder, target.name, replace=True) as made:
            for group, named in tensors.items():
                _write_tensors(made.path / f"{group}.safetensors", named)
            made.write_new(STATE, state_content)
            files = {name: {"bytes": made.size_bytes(name), "sha256": made.sha256(name)} for name in made.names()}
            made.write_new(MANIFEST, json_bytes({"format": FORMAT, "step": step, "files": files}))
    finish_save(run, step, keep_last, keep_every)
    return target


def finish_save(run: str | PathLike[str], step: int, keep_last: int, keep_every: int = 0) -> None:
    """Finishes a save: records it and removes old checkpoints; called again on resume, in case a kill came before."""
    record_saved_step(run, step)
    with (
        storage_errors(f"removing old checkpoints in {Path(run)}"),
        Folder(run) as root,
        root.inside(CHECKPOINTS) as folder,
    ):
        remove_staging(folder)
    prune_checkpoints(run, keep_last, keep_every, newest_step=step)


def require_room(run: str | PathLike[str], count: int, tensor_bytes: int, remedy: str) -> None:
    """Raises StorageError if the run's disk has no room for `count` more checkpoints of that many tensor bytes."""
    needed_bytes = count * (tensor_bytes + _HEADER_BYTES)
    with storage_errors(f"checking the free space of {Path(run)}"):
        require_free_space(Path(run), needed_bytes, f"a run with {count} more checkpoints at a time", remedy)


def load_checkpoint(path: str | PathLike[str], groups: Collection[str] | None = None) -> Checkpoint:
    """The checkpoint in a folder, with all groups of tensors or only those in `groups`, on the CPU.

    Every file is verified before it is read; raises a StorageError that names what is missing or has changed.
    """
    path = Path(path)
    problems = verify_checkpoint(path, groups)
    if problems:
        raise StorageError(
            f"checkpoint {path} is damaged, {'; '.join(problems)}: use another one; "
            "`revlm checkpoint verify` shows which are intact"
        )
    from safetensors.torch import load_file

    with storage_errors(f"reading the checkpoint {path}"):
        with Folder(path, through_links=False) as folder:
            manifest, state = read_manifest(folder), _object(folder.read(STATE), path / STATE)
        files = [path / name for name in names_of(manifest, groups) if name != STATE]
        try:
            tensors = {file.stem: load_file(file) for file in files}
        except SafetensorError as error:
            raise StorageError(f"checkpoint {path} cannot be read ({error}): use another one") from error
    return Checkpoint(path, manifest["step"], tensors, state)


def _object(content: bytes, path: Path) -> dict[str, Any]:
    """Returns the JSON object in a checkpoint's file, which may be forged even if its digest is right."""
    try:
        values = json.loads(content)
        if isinstance(values, dict):
            return values
    except (ValueError, RecursionError):
        pass
    raise StorageError(f"{path} is not a JSON object: use another checkpoint")


def _write_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> None:
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        raise os_error(error, path) from error
    sync_file(path)


def os_error(error: SafetensorError, path: Path) -> OSError:
    """The system error behind a SafetensorError, which keeps only its text."""
    code = re.search(r"(?:os error|code:) (\d+)", str(error))
    return OSError(int(code[1]) if code else 0, str(error), str(path))
