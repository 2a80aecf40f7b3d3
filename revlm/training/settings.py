"""What a checkpoint must share with a run that goes on from it: all that decides which weights come out."""

import re
from collections.abc import Mapping
from typing import Any

from revlm.corpus import Corpus
from revlm.recipe import Recipe

Settings = dict[str, Any]

# Of each section that decides the weights, what decides only memory and speed, how a run ends, or where something lies:
# tokens, texts and tokenizer are told by their content.
_FREE = {
    "model": {"reversible", "attention_block"},
    "data": {"path", "stream", "tokenizer", "workers"},
    "optimizer": set[str](),
    "lr_scheduler": set[str](),
    "train": {"device", "tile", "on_nonfinite", "max_skipped"},
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN_DIGITS = 12


def settings_of(recipe: Recipe, corpus: Corpus) -> Settings:
    """Returns the settings of a run by key, as JSON gives them back; tokenizer and tokens are told by their sha256."""
    settings = {
        f"{section}.{key}": value
        for section, free in _FREE.items()
        for key, value in getattr(recipe, section).model_dump(mode="json", exclude=free).items()
    }
    weights = None if recipe.data.weights is None else list(recipe.data.weights)
    return settings | {
        "seed": recipe.seed,
        "data.weights": weights,
        "tokenizer": corpus.tokenizer.fingerprint,
        "corpus": corpus.fingerprint,
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Returns for each key that differs `old value -> new value`."""
    return {
        key: f"{_shown(old, key)} -> {_shown(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if (key in old) != (key in new) or old.get(key) != new.get(key)
    }


def decides_examples(key: str) -> bool:
    """Whether another value of this key gives other examples, in which an old place means nothing."""
    return key in {"seed", "corpus"} or key.startswith("data.")


def _shown(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return "not known"
    value = settings[key]
    return value[:_SHOWN_DIGITS] if isinstance(value, str) and _SHA256.fullmatch(value) else str(value)
