"""Resolves the values that a recipe leaves open: number of buckets, precision, commit of a hub dataset.

They are stored with the run, and a run that resumes takes them from there, whatever machine it resumes on.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from revlm.corpus import pinned
from revlm.errors import StorageError
from revlm.model import resolve_model
from revlm.model.precision import multiplies_bf16
from revlm.recipe import Data, Recipe, Stream, Train, load_recipe
from revlm.recipe import Model as ModelRecipe
from revlm.runs import RunFolder, Start, list_checkpoints, load_checkpoint, read_start, trained_settings
from revlm.runs.start import require_another_run
from revlm.training.ranks import Ranks
from revlm.training.settings import require_same_on_ranks


def resolved(
    recipe: Recipe, device: torch.device, ranks: Ranks, message: Callable[[str], object]
) -> tuple[Recipe, Start | None]:
    """Returns the recipe with all values resolved, and the weights it starts from if the run has no checkpoint yet.

    `message` receives a sentence if the precision is chosen now.
    """
    stored = ranks.broadcast(lambda: _stored_settings(recipe.output_dir))
    ranks.run_on_all(lambda: require_another_run(recipe))
    start = ranks.run_on_all(lambda: read_start(recipe, message)) if not stored else None
    if start is not None:
        require_same_on_ranks(
            {"start": start.identity()}, f"{start.path} must be on a disk shared by all machines", ranks
        )
    settings = stored or ({} if start is None else start.settings)
    resolved = recipe.model_copy(
        update={
            "model": with_stored_buckets(recipe, settings),
            "data": _pinned_data(recipe, ranks),
            "train": _resolved_train(recipe.train, stored, device, ranks, message),
        }
    )
    return resolved, start


def _stored_settings(run: Path) -> dict[str, Any]:
    """The settings in the newest checkpoint whose state is undamaged; empty if there is none."""
    for path in reversed(list_checkpoints(run)):
        with suppress(StorageError):  # newest_checkpoint reports it
            return trained_settings(load_checkpoint(path, groups=()))
    return {}


def with_stored_buckets(recipe: Recipe, stored: Mapping[str, Any]) -> ModelRecipe:
    """Returns the section `model` with a number of buckets: the recipe's own, else the stored one, else the default."""
    if recipe.model.n_buckets == "auto" and (n_buckets := stored.get("model.n_buckets")):
        if isinstance(n_buckets, int):
            return recipe.model.model_copy(update={"n_buckets": n_buckets})
        if len(n_buckets) == recipe.model.n_rounds:  # else the checkpoint is refused for its n_rounds
            return recipe.model.model_copy(update={"n_buckets": tuple(n_buckets)})
    return resolve_model(recipe.model, recipe.data.seq_len)


def _resolved_train(
    train: Train, stored: Mapping[str, Any], device: torch.device, ranks: Ranks, message: Callable[[str], object]
) -> Train:
    kind, is_native = "GPU" if device.type == "cuda" else "CPU", all(ranks.gather(multiplies_bf16(device)))
    precision = train.precision if train.precision != "auto" else stored.get("train.precision")
    if precision is None:
        precision = "bf16" if is_native else "fp32"
        message(
            f"train.precision is bf16, which this {kind} multiplies natively"
            if is_native
            else f"train.precision is fp32: this {kind} does not multiply bf16 natively"
        )
    elif precision == "bf16" and not is_native:
        message(
            f"train.precision is bf16, which this {kind} does not multiply natively, so steps may take many times as "
            "long: train.precision=fp32 is faster here (with --allow-change for a run that has begun)"
        )
    return train.model_copy(update={"precision": precision})


def _pinned_data(recipe: Recipe, ranks: Ranks) -> Data:
    """The recipe's data; a hub dataset is pinned to the commit that the run started with, else to the current one."""
    stream = recipe.data.stream
    if stream is None:
        return recipe.data
    revision = ranks.broadcast(lambda: _pinned(stream, recipe.output_dir).revision)
    return recipe.data.model_copy(update={"stream": stream.model_copy(update={"revision": revision})})


def _pinned(stream: Stream, output_dir: Path) -> Stream:
    written = RunFolder(output_dir).recipe
    if stream.revision is None and written.is_file():
        of_run = load_recipe(written).data.stream
        if of_run is not None and of_run.model_copy(update={"revision": None, "errors": stream.errors}) == stream:
            stream = stream.model_copy(update={"revision": of_run.revision})
    return pinned(stream)
