"""The settings that decide a run's weights, which must be the same on all ranks and when a run resumes."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from revlm.corpus import Corpus
from revlm.errors import UsageError
from revlm.model.kinds import KINDS
from revlm.ops.compiled import library
from revlm.ops.triton import availability
from revlm.recipe import Recipe
from revlm.runs import Checkpoint
from revlm.runs.inventory import MANIFEST
from revlm.runs.trained_settings import settings_of_recipe
from revlm.training.ranks import Ranks

Settings = dict[str, Any]

OPERATIONS = "operations"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN_DIGITS = 12


def settings_of(recipe: Recipe, corpus: Corpus) -> Settings:
    """Returns the settings of a run by key, as JSON values; tokenizer and tokens are identified by their sha256."""
    weights = None if recipe.data.weights is None else list(recipe.data.weights)
    return settings_of_recipe(recipe) | {
        "data.weights": weights,
        "tokenizer": corpus.tokenizer.fingerprint,
        "corpus": corpus.fingerprint,
    }


def operations_on(device: torch.device) -> str:
    """Returns the backend of the operations on a device: the last bits of the weights depend on it."""
    if device.type == "cpu":
        return "compiled" if library.builds() else "PyTorch's own"
    return "Triton's" if availability.is_available() else "PyTorch's own"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Returns `old value -> new value` for each key that differs."""
    return {
        key: f"{_shown(old, key)} -> {_shown(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if (key in old) != (key in new) or old.get(key) != new.get(key)
    }


def require_same_settings(recipe: Recipe, corpus: Corpus, ranks: Ranks) -> None:
    """Raises UsageError if a rank would train with other settings, or evaluate at other steps."""
    own = settings_of(recipe, corpus) | {
        f"evaluate.{key}": value for key, value in recipe.evaluate.model_dump(mode="json").items()
    }
    require_same_on_ranks(own, "give every rank the same recipe and the same tokens", ranks)


def require_same_checkpoint(checkpoint: Checkpoint, ranks: Ranks) -> None:
    """Raises UsageError if ranks read different checkpoints, as happens if machines do not share a disk."""
    manifest = (checkpoint.path / MANIFEST).read_bytes()  # it names the sha256 of every file
    own = {"step": checkpoint.step, "manifest": hashlib.sha256(manifest).hexdigest()}
    require_same_on_ranks(own, f"{checkpoint.path} must be on a disk shared by all machines", ranks)


def require_same_on_ranks(own: Settings, remedy: str, ranks: Ranks) -> None:
    """Raises UsageError with the remedy if a rank has other values than rank 0."""
    ranks.run_on_rank0(partial(_require_same, ranks.gather(own), remedy))


def _require_same(of_ranks: Sequence[Settings], remedy: str) -> None:
    for rank, settings in enumerate(of_ranks):
        if changed := changes(of_ranks[0], settings):
            listed = "; ".join(f"{key}: {change}" for key, change in changed.items())
            raise UsageError(f"rank {rank} differs from rank 0 ({listed}): {remedy}")


def decides_examples(key: str) -> bool:
    """Whether this key decides the examples, so that after a change an old position in the corpus is meaningless.

    Changes of `data.seq_len` do not count: examples of another length continue at the same position.
    """
    return key in {"seed", "corpus"} or (key.startswith("data.") and not key.startswith("data.seq_len"))


def hashes_alike(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the hash layers of two models have the same number of buckets in each round."""
    hashes = any(KINDS[kind].hashes for kind in new["model.layers"])
    return not hashes or _buckets_of_rounds(old) == _buckets_of_rounds(new)


def _buckets_of_rounds(settings: Mapping[str, Any]) -> list[int]:
    numbers = settings["model.n_buckets"]
    return [numbers] * settings["model.n_rounds"] if isinstance(numbers, int) else list(numbers)


def _shown(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return "not known"
    value = settings[key]
    return value[:_SHOWN_DIGITS] if isinstance(value, str) and _SHA256.fullmatch(value) else str(value)
