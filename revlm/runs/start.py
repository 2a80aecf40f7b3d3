"""The weights that `train.start_from` names: of a run, of one of its checkpoints, or of an exported model."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revlm.errors import StorageError, UsageError
from revlm.recipe import Recipe
from revlm.records.files import CHECKPOINTS, RECIPE, step_of
from revlm.runs.checkpoint import load_checkpoint
from revlm.runs.exported import is_exported, load_exported
from revlm.runs.folder import RunFolder
from revlm.runs.inventory import newest_checkpoint
from revlm.runs.trained_settings import settings_of_section, trained_settings
from revlm.storage import digest_of_json

if TYPE_CHECKING:
    from torch import Tensor

_EMBEDDING = "embedding.weight"


@dataclass(frozen=True)
class Start:
    """The weights that a run starts from.

    Attributes:
        path: the checkpoint, or the exported model.
        step: the training step of its weights.
        weights: the state of its model, buffers included, memory-mapped, on the CPU.
        settings: the settings of its training, as in a checkpoint; an exported model has only those of `model`.
        tokenizer_sha256: the fingerprint of its tokenizer.
        tokenizer_folder: the folder that holds its tokenizer.
    """

    path: Path
    step: int
    weights: "Mapping[str, Tensor]"
    settings: Mapping[str, Any]
    tokenizer_sha256: str
    tokenizer_folder: Path

    @property
    def vocab_size(self) -> int:
        """The size of its vocabulary."""
        return len(self.weights[_EMBEDDING])

    def record(self) -> dict[str, Any]:
        """Returns what a run records of its start."""
        return {"path": str(self.path), "step": self.step}

    def identity(self) -> str:
        """Returns a digest of the step and the settings, which ranks compare."""
        return digest_of_json({"step": self.step, "settings": dict(self.settings)})


def read_start(recipe: Recipe, message: Callable[[str], object] = lambda text: None) -> Start | None:
    """Returns the weights that `train.start_from` names, of a run its newest intact checkpoint; None if it is not set.

    `message` receives a sentence for each damaged checkpoint that is skipped.

    Raises:
        UsageError: it names the recipe's own run.
        StorageError: it names no run, checkpoint or exported model, or a damaged one.
    """
    require_another_run(recipe)
    path = recipe.train.start_from
    if path is None:
        return None
    if path.is_file():
        raise StorageError(
            f"train.start_from is {path}, a file, and weights alone do not name their tokenizer: give the folder of a "
            "run, a checkpoint or an exported model"
        )
    if not os.path.lexists(path):
        raise StorageError(f"train.start_from is {path}, and there is no such folder: give the output_dir of a run")
    if is_exported(path):
        return _exported(path)
    is_checkpoint = step_of(path) is not None and not (path / RECIPE).exists()
    return _of_checkpoint(path if is_checkpoint else _newest(path, message))


def require_another_run(recipe: Recipe) -> None:
    """Raises UsageError if a recipe starts from its own run folder, or from something in it."""
    path, own = recipe.train.start_from, os.path.realpath(recipe.output_dir)
    if path is not None and os.path.commonpath([own, os.path.realpath(path)]) == own:
        raise UsageError(
            f"train.start_from is {path}, the run itself: leave it out to resume the run, or give another output_dir"
        )


def _exported(path: Path) -> Start:
    exported, weights = load_exported(path)
    settings = settings_of_section("model", exported.model)
    return Start(path, exported.step, _with_embedding(weights, path), settings, exported.tokenizer_sha256, path)


def _newest(path: Path, message: Callable[[str], object]) -> Path:
    try:
        folder = RunFolder.open(path)
    except StorageError as error:
        raise StorageError(
            f"train.start_from is {path}, which is no run (it has no {RECIPE}), no checkpoint and no exported model: "
            "give the output_dir of a run"
        ) from error
    newest = newest_checkpoint(folder, message)
    if newest is None:
        raise StorageError(f"train.start_from is {path}, which has no checkpoint yet: train it first")
    return newest


def _of_checkpoint(path: Path) -> Start:
    checkpoint = load_checkpoint(path, groups=["model"])
    settings, weights = trained_settings(checkpoint), _with_embedding(checkpoint.tensors["model"], path)
    place = path.absolute()
    of_run = place.parent.parent if place.parent.name == CHECKPOINTS else place
    return Start(path, checkpoint.step, weights, settings, settings["tokenizer"], of_run)


def _with_embedding(weights: "Mapping[str, Tensor]", path: Path) -> "Mapping[str, Tensor]":
    """Returns the weights; raises StorageError if the embedding is missing among them."""
    if _EMBEDDING not in weights or weights[_EMBEDDING].dim() != 2:
        raise StorageError(f"{path} holds no weights of a model: set train.start_from to a run")
    return weights
