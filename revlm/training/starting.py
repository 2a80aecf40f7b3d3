"""Loads the weights of `train.start_from` into a model, if they fit its shapes and its tokens."""

from collections.abc import Mapping

from torch import Tensor

from revlm.corpus import Corpus
from revlm.errors import DataError, UsageError
from revlm.model import RevLM, with_key_moments
from revlm.recipe import Recipe
from revlm.runs import Start
from revlm.runs.trained_settings import settings_of_recipe
from revlm.training.settings import changes, hashes_alike

_MAX_NAMED = 3


def load_start(start: Start, model: RevLM, recipe: Recipe, corpus: Corpus) -> None:
    """Loads the weights and buffers of `start` into the model.

    Raises:
        DataError: the tokens were made with another tokenizer.
        UsageError: the weights do not have the names and shapes of the model's.
    """
    if corpus.tokenizer.fingerprint != start.tokenizer_sha256:
        tokenizer = start.tokenizer_folder
        remedy = (
            f"set data.tokenizer to {tokenizer}"
            if recipe.data.stream is not None
            else f"tokenize the texts again with `revlm tokenize CORPUS --tokenizer {tokenizer}`"
        )
        raise DataError(f"the tokens of {corpus.name} are not those of the tokenizer of {start.path}: {remedy}")
    weights = with_key_moments(start.weights)
    differing, own = _differing(weights, model.state_dict()), settings_of_recipe(recipe)
    if differing or not hashes_alike(start.settings, own):
        own = {key: value for key, value in own.items() if key.startswith("model.")}
        theirs = {key: value for key, value in start.settings.items() if key.startswith("model.")}
        changed = "; ".join(f"{key}: {change}" for key, change in changes(theirs, own).items())
        raise UsageError(
            f"the weights of {start.path} do not fit the model ({changed or differing}): give the model of "
            "train.start_from, or leave train.start_from out"
        )
    model.load_state_dict(weights)


def _differing(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The names of tensors that only one of the two has, or whose shapes differ; the first few of them."""
    names = [
        name
        for name in sorted(theirs.keys() | own.keys())
        if name not in theirs or name not in own or theirs[name].shape != own[name].shape
    ]
    return ", ".join(names[:_MAX_NAMED])
