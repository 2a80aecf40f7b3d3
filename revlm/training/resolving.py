"""What a recipe leaves to be derived, derived once and stored with the run: buckets, precision, commit of a dataset.

A run that resumes takes them from its newest checkpoint, whatever machine it resumes on.
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
from revlm.runs import RunFolder, list_checkpoints, load_checkpoint
from revlm.training.ranks import Ranks


def resolved(recipe: Recipe, device: torch.device, ranks: Ranks, message: Callable[[str], object]) -> Recipe:
    """Returns the recipe with every value given; `message` receives a sentence if the precision is chosen now."""
    stored = ranks.broadcast(lambda: _stored_settings(recipe.output_dir))
    return recipe.model_copy(
        update={
            "model": _resolved_model(recipe, stored),
            "data": _pinned_data(recipe, ranks),
            "train": _resolved_train(recipe.train, stored, device, ranks, message),
        }
    )


def _stored_settings(run: Path) -> dict[str, Any]:
    """The settings in the newest checkpoint whose state is undamaged; empty if there is none."""
    for path in reversed(list_checkpoints(run)):
        with suppress(StorageError):  # newest_checkpoint reports it
            settings: dict[str, Any] = load_checkpoint(path, groups=()).state["settings"]
            return settings
    return {}


def _resolved_model(recipe: Recipe, stored: Mapping[str, Any]) -> ModelRecipe:
    if recipe.model.n_buckets == "auto" and (n_buckets := stored.get("model.n_buckets")):
        if isinstance(n_buckets, int):
            return recipe.model.model_copy(update={"n_buckets": n_buckets})
        if len(n_buckets) == recipe.model.n_rounds:  # else the checkpoint is refused for its n_rounds
            return recipe.model.model_copy(update={"n_buckets": tuple(n_buckets)})
    return resolve_model(recipe.model, recipe.data.seq_len)


def _resolved_train(
    train: Train, stored: Mapping[str, Any], device: torch.device, ranks: Ranks, message: Callable[[str], object]
) -> Train:
    if train.precision != "auto":
        return train
    precision = stored.get("train.precision")
    if precision is None:
        natively = all(ranks.gather(multiplies_bf16(device)))
        precision = "bf16" if natively else "fp32"
        kind = "GPU" if device.type == "cuda" else "CPU"
        message(
            f"train.precision is bf16, which this {kind} multiplies natively"
            if natively
            else f"train.precision is fp32: this {kind} does not multiply bf16 natively"
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
