"""Loads a trained model from its run folder."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch

from revlm.corpus import Tokenizer, open_tokenizer
from revlm.errors import StorageError
from revlm.model import RevLM, tile_tokens
from revlm.recipe import Recipe
from revlm.runs import (
    RunFolder,
    checkpoint_path,
    choose_device,
    load_checkpoint,
    load_own_recipe,
    newest_checkpoint,
    require_own,
)


class TrainedModel(NamedTuple):
    """A run's model on its device, with its tokenizer and recipe.

    `step` is the step of its weights; `corpus_fingerprint` identifies the tokens or texts it was trained on;
    `tokenizer_place` is the folder that holds its tokenizer.
    """

    model: RevLM
    tokenizer: Tokenizer
    recipe: Recipe
    step: int
    corpus_fingerprint: str
    tokenizer_place: Path

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.head_weight.device


def load_model(
    run: str | PathLike[str],
    device: str = "auto",
    step: int | None = None,
    message: Callable[[str], object] = lambda text: None,
) -> TrainedModel:
    """Returns the model of a run's checkpoint of a step, by default the newest intact one.

    `device` is auto, cpu, cuda or cuda:N; `message` is called with a sentence for each damaged checkpoint it skips.

    Raises:
        StorageError: there is no run, no intact checkpoint, none of that step, or it does not fit the run's recipe.
        DataError: an older run, without a tokenizer of its own, whose token folder is gone.
        UsageError: there is no such device.
    """
    chosen = choose_device(device, "--device")
    folder = RunFolder.open(run)
    recipe = load_own_recipe(folder)
    path = newest_checkpoint(folder, message) if step is None else checkpoint_path(folder, step)
    if path is None:
        raise StorageError(f"{folder} has no intact checkpoint to load: resume it with `revlm train`")
    tokenizer_place = _tokenizer_place(folder, recipe)
    tokenizer = open_tokenizer(tokenizer_place)
    checkpoint = load_checkpoint(path, groups=["model"])
    require_own(folder, recipe, tokenizer.fingerprint, checkpoint.step, checkpoint.state)
    tile = tile_tokens(recipe.model, recipe.train.tile, chosen.type)
    model = RevLM(recipe.model, vocab_size=tokenizer.vocab_size, seed=recipe.seed, tile=tile)
    try:
        model.load_state_dict(checkpoint.tensors["model"])
    except RuntimeError as error:
        raise StorageError(
            f"{path} holds another model than {folder.recipe} and the tokenizer in {tokenizer_place} describe: "
            "restore the run's own recipe and tokenizer"
        ) from error
    fingerprint = checkpoint.state["settings"]["corpus"]
    return TrainedModel(model.to(chosen).eval(), tokenizer, recipe, checkpoint.step, fingerprint, tokenizer_place)


def _tokenizer_place(folder: RunFolder, recipe: Recipe) -> Path:
    """The run folder, or the first token folder if the run has no tokenizer of its own; all folders share one."""
    if Tokenizer.file_in(folder.path) is None and recipe.data.paths:
        return recipe.data.paths[0]
    return folder.path
