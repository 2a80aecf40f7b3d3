"""The interface of a kind of attention layer: a sublayer, a decoding cache, its memory and its FLOPs."""

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
        layer: returns the sublayer that a recipe describes, given its number in the model.
        cache: returns an empty decoding cache for such a sublayer, given its rotations (None for a kind that does not
            hash) and the dtype of the cache.
        memory: returns the bytes of one sublayer in a training step, for the plan.
        flops: returns the floating-point operations of one layer's attention over a document of so many tokens, forward
            and backward, without the projections, which are weights times tokens; see `training_flops`.
        reads_all: whether its layers read from all of a document, not only from a window.
        hashes: whether its layers hash, that is, draw rotations and report statistics of their buckets.
    """

    layer: Callable[[ModelRecipe, int], Sublayer]
    cache: Callable[[Sublayer, Tensor | None, torch.dtype], Cache]
    memory: Callable[[LayerSizes, Weights], AttentionMemory]
    flops: Callable[[ModelRecipe, int], int]
    reads_all: bool = False
    hashes: bool = False
