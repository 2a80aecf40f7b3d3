"""Attention sublayers by the word a recipe uses for them."""

from collections.abc import Callable

from revlm.model.attention import full, local, lsh
from revlm.model.sublayer import Sublayer
from revlm.recipe import Model as ModelRecipe

__all__ = ["ATTENTION_LAYERS"]

ATTENTION_LAYERS: dict[str, Callable[[ModelRecipe, int], Sublayer]] = {
    "local": local.attention,
    "lsh": lsh.attention,
    "full": full.attention,
}
