"""Loads a trained model from its run folder, or from the folder that it was exported to."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack

import torch
from pydantic import ValidationError
from torch import Tensor

from revlm.corpus import Tokenizer
from revlm.errors import StorageError
from revlm.model import RevLM, tile_tokens, with_key_moments
from revlm.recipe import Data, Recipe, Train
from revlm.recipe import Model as ModelRecipe
from revlm.runs import (
    RunFolder,
    checkpoint_path,
    choose_device,
    is_exported,
    load_checkpoint,
    load_exported,
    load_run_recipe,
    newest_checkpoint,
    require_matching_checkpoint,
    trained_settings,
)


class TrainedModel(NamedTuple):
    """A run's model on its device, with its tokenizer and recipe.

    `step` is the training step of the weights; `corpus_fingerprint` identifies the tokens or texts that the model was
    trained on; `tokenizer_folder` holds its tokenizer.
    """

    model: RevLM
    tokenizer: Tokenizer
    recipe: Recipe
    step: int
    corpus_fingerprint: str
    tokenizer_folder: Path

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.head_weight.device


class Reading(TypedDict, total=False):
    """How a model reads where that differs from training; None or no entry is as in training.

    `rounds` are the rounds of hashing, `buckets` the buckets of the finest ones (`RevLM.use_rounds`), `attention_scale`
    is the factor of the attention logits (`RevLM.scale_attention`).
    """

    rounds: int | None
    buckets: int | None
    attention_scale: float | None


def load_model(
    run: str | PathLike[str],
    device: str = "auto",
    step: int | None = None,
    message: Callable[[str], object] = lambda text: None,
    **reading: Unpack[Reading],
) -> TrainedModel:
    """Returns the model of a run, from the checkpoint of `step` (default: the newest intact one), or an exported model.

    `device` is auto, cpu, cuda or cuda:N; `message` receives a sentence for each damaged checkpoint that is skipped,
    and one if the run has not ended; `reading` is how the model reads where that differs from training.

    Raises:
        StorageError: there is no run, no intact checkpoint or none of that step; the checkpoint does not fit the run's
            recipe; or a file of an exported model is missing or damaged.
        DataError: the run has no readable tokenizer.
        UsageError: there is no such device, or the model cannot read so.
    """
    chosen = choose_device(device, "--device")
    if is_exported(run):
        trained = _load_exported(Path(run), chosen, step)
    else:
        trained = _load_run(RunFolder.open(run), chosen, step, message)
    return _reading_with(trained, **reading)


def _reading_with(
    trained: TrainedModel,
    *,
    rounds: int | None = None,
    buckets: int | None = None,
    attention_scale: float | None = None,
) -> TrainedModel:
    """Returns the model, set to read as the entries of `Reading` say."""
    if attention_scale is not None:
        trained.model.scale_attention(attention_scale)
    if rounds is None and buckets is None:
        return trained
    trained.model.use_rounds(rounds, buckets)
    return trained._replace(recipe=trained.recipe.model_copy(update={"model": trained.model.recipe}))


def _load_run(
    folder: RunFolder, device: torch.device, step: int | None, message: Callable[[str], object]
) -> TrainedModel:
    """Returns the model of a run."""
    recipe = load_run_recipe(folder)
    path = newest_checkpoint(folder, message) if step is None else checkpoint_path(folder, step)
    if path is None:
        raise StorageError(f"{folder} has no intact checkpoint to load: resume it with `revlm train`")
    tokenizer = Tokenizer.load(folder.path)
    checkpoint = load_checkpoint(path, groups=["model"])
    if step is None and checkpoint.step < (last := recipe.train.max_steps):
        message(f"{folder} has not ended: using its newest checkpoint, of step {checkpoint.step:,} of {last:,}")
    require_matching_checkpoint(folder, recipe, tokenizer.fingerprint, checkpoint)
    try:
        model = _model(recipe, tokenizer.vocab_size, checkpoint.tensors["model"], device)
    except RuntimeError as error:
        raise StorageError(
            f"the weights in {path} do not fit the model that {folder.recipe} and the tokenizer in {folder} describe: "
            "restore the run's own recipe and tokenizer"
        ) from error
    fingerprint = trained_settings(checkpoint)["corpus"]
    return TrainedModel(model, tokenizer, recipe, checkpoint.step, fingerprint, folder.path)


def _load_exported(folder: Path, device: torch.device, step: int | None) -> TrainedModel:
    """Returns an exported model; its recipe has only the settings that the export keeps."""
    exported, tensors = load_exported(folder)
    if step not in (None, exported.step):
        raise StorageError(f"{folder} holds only the weights of step {exported.step}: leave --step {step} out")
    tokenizer = Tokenizer.load(folder)
    if tokenizer.fingerprint != exported.tokenizer_sha256:
        raise StorageError(
            f"the tokenizer in {folder} is not the one that the model was trained with: restore it, or export the "
            "checkpoint again"
        )
    try:
        recipe = Recipe(
            output_dir=folder,
            seed=exported.seed,
            model=exported.model,
            data=Data(path=folder, seq_len=exported.seq_len),
            train=Train.model_validate({"precision": exported.precision}),
        )
    except ValidationError as error:
        raise StorageError(f"the settings of the model in {folder} are invalid: export it again") from error
    try:
        model = _model(recipe, exported.vocab_size, tensors, device)
    except RuntimeError as error:
        raise StorageError(
            f"the weights in {folder} do not fit the model that its config.json describes: export the checkpoint again"
        ) from error
    return TrainedModel(model, tokenizer, recipe, exported.step, exported.corpus, folder)


def _model(recipe: Recipe, vocab_size: int, weights: Mapping[str, Tensor], device: torch.device) -> RevLM:
    """Returns a recipe's model with these weights, in evaluation mode; RuntimeError if the weights do not fit it."""
    tile, weights = tile_tokens(recipe.model, recipe.train.tile, device.type), with_key_moments(weights)

    def new() -> RevLM:
        return RevLM(recipe.model, vocab_size=vocab_size, seed=recipe.seed, tile=tile)

    _require_same_shapes(recipe.model, new, weights)
    model = new()
    model.load_state_dict(weights)
    return model.to(device).eval()


def _require_same_shapes(model: ModelRecipe, new: Callable[[], RevLM], weights: Mapping[str, Tensor]) -> None:
    """Raises RuntimeError if the weights do not fit the model that `new` returns, without allocating that model.

    A recipe from someone else may describe a model of any size.
    """
    if model.n_layers > len(weights):
        raise RuntimeError("fewer weights than layers")
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in new().state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in weights.items()}:
        raise RuntimeError("weights of other names or shapes")
