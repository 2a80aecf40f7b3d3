"""Checkpoints: folders of safetensors and JSON that are whole or not there.

Layout of RUN/checkpoints/step-00000200: one `<group>.safetensors` for each group of tensors, `state.json`,
and `manifest.json` with the size and sha256 of each. All of it is written in a staging folder beside, the
manifest last, and then renamed: a folder of that name with a manifest was complete. Removing one takes its
manifest first. There is no pickle, in either direction.
"""

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from revlm.errors import StorageError
from revlm.records.files import step_name
from revlm.runs.inventory import FORMAT, MANIFEST, STATE, names_of, prune_checkpoints, verify_checkpoint
from revlm.storage import (
    json_bytes,
    require_free_space,
    sha256_of,
    storage_errors,
    sync_file,
    sync_folder,
    write_file,
)

if TYPE_CHECKING:
    from torch import Tensor

_STAGING = ".staging-"
_HEADER_BYTES = 1 << 20  # room for headers, manifest and file-system blocks beside the tensors' own bytes


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint; its `tensors` are memory-mapped and take memory as they are touched."""

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
    """The folder of a new checkpoint of the run's `step`; older ones are then pruned, see `prune_checkpoints`.

    `tensors` are groups of named tensors, such as {"model": ..., "optimizer": ...}; `state` is what JSON can
    hold exactly (its tuples come back as lists). Raises StorageError, leaving older checkpoints as they were,
    where the disk is full or cannot be written.
    """
    folder = Path(run) / "checkpoints"
    target = folder / step_name(step)
    state_content = json_bytes(dict(state))
    staging = folder / f"{_STAGING}{target.name}"
    with storage_errors(f"saving the checkpoint {target}"):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_staging(folder)  # of a save that was killed: whoever saves holds the run's lock
        tensor_bytes = sum(tensor.nbytes for group in tensors.values() for tensor in group.values())
        require_free_space(folder, tensor_bytes + len(state_content) + _HEADER_BYTES, f"the checkpoint {target}")
        try:
            staging.mkdir()
            for group, named in tensors.items():
                _write_tensors(staging / f"{group}.safetensors", named)
            write_file(staging / STATE, state_content)
            files = {
                path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
                for path in sorted(staging.iterdir())
            }
            write_file(staging / MANIFEST, json_bytes({"format": FORMAT, "step": step, "files": files}))
            sync_folder(staging)
            if target.exists():  # such as one that did not verify, where the run went on from an older one
                target.rename(folder / f"{_STAGING}replaced-{target.name}")
            staging.rename(target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        sync_folder(folder)
    end_save(run, step, keep_last, keep_every)
    return target


def end_save(run: str | PathLike[str], step: int, keep_last: int, keep_every: int = 0) -> None:
    """Does what comes after the checkpoint of a step stands, again where a kill came in between: what is old goes."""
    with storage_errors(f"removing what is old in {Path(run)}"):
        _remove_staging(Path(run) / "checkpoints")
    prune_checkpoints(run, keep_last, keep_every, newest_step=step)


def require_room(run: str | PathLike[str], count: int, tensor_bytes: int, remedy: str) -> None:
    """Raises StorageError where the run's disk has no room for `count` more checkpoints of tensors of that size."""
    needed_bytes = count * (tensor_bytes + _HEADER_BYTES)
    with storage_errors(f"looking at the disk of {Path(run)}"):
        require_free_space(Path(run), needed_bytes, f"a run with {count} more checkpoints at a time", remedy)


def load_checkpoint(path: str | PathLike[str], groups: Collection[str] | None = None) -> Checkpoint:
    """The checkpoint in that folder, with all groups of tensors or those named, on the CPU.

    Every file that is read is verified first; raises StorageError that names what is missing or changed.
    """
    path = Path(path)
    problems = verify_checkpoint(path, groups)
    if problems:
        raise StorageError(
            f"checkpoint {path} is not whole, {'; '.join(problems)}: go on from another one, "
            "`revlm checkpoint verify` says which are whole"
        )
    from safetensors.torch import load_file

    with storage_errors(f"reading the checkpoint {path}"):
        manifest = json.loads((path / MANIFEST).read_bytes())
        state = json.loads((path / STATE).read_bytes())
        files = [path / name for name in names_of(manifest, groups) if name != STATE]
        try:
            tensors = {file.stem: load_file(file) for file in files}
        except SafetensorError as error:
            raise StorageError(f"checkpoint {path} cannot be read ({error}): go on from another one") from error
    return Checkpoint(path, manifest["step"], tensors, state)


def _remove_staging(folder: Path) -> None:
    for path in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(path)


def _write_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> None:
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        raise _os_error(error, path) from error
    sync_file(path)


def _os_error(error: SafetensorError, path: Path) -> OSError:
    """The error of the system inside one of safetensors, which keeps only its text."""
    code = re.search(r"(?:os error|code:) (\d+)", str(error))
    return OSError(int(code[1]) if code else 0, str(error), str(path))
