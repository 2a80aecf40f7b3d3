"""What a kind of attention layer is to the rest: a layer, a cache for decoding, and a count of its memory."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from revlm.model.parts.cache import Cache
from revlm.model.parts.memory import AttentionMemory, LayerSizes, Weights
from revlm.model.parts.sublayer import Sublayer
from revlm.recipe import Model as ModelRecipe


@dataclass(frozen=True)
class Kind:
    """A kind of attention.

    Attributes:
        layer: makes the sublayer that a recipe describes, given its number in the model.
        cache: makes the empty decoding cache of such a sublayer, given its rotations (None for a kind that does not
            hash) and the dtype of what it keeps.
        memory: counts the bytes of one sublayer in a training step, for the plan.
        hashes: whether its layers hash: they draw rotations and tell how their buckets are used.
    """

    layer: Callable[[ModelRecipe, int], Sublayer]
    cache: Callable[[Sublayer, Tensor | None, torch.dtype], Cache]
    memory: Callable[[LayerSizes, Weights], AttentionMemory]
    hashes: bool = False
