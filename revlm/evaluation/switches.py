"""Temporary changes to a model: attention set to zero, or another number of hashing rounds."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from revlm.model import RevLM
from revlm.model.kinds.lsh import HashAttention


@contextmanager
def attention_set_to_zero(model: RevLM, layers: Collection[int]) -> Iterator[None]:
    """Sets the output of these layers' attention to zero for the block."""
    with ExitStack() as hooks:
        for layer in layers:
            handle = model.attention(layer).write.register_forward_hook(_zeros)
            hooks.callback(handle.remove)
        yield


@contextmanager
def rounds_of_hashing(model: RevLM, rounds: int) -> Iterator[None]:
    """Makes the hash layers use `rounds` rounds for the block, as `RevLM.use_rounds` does."""
    with ExitStack() as changes:
        for layer in model.hash_layers:
            name, mix = f"rotations_{layer}", model.attention(layer).mix
            assert isinstance(mix, HashAttention)
            changes.callback(setattr, model, name, model.get_buffer(name))
            changes.callback(mix.hash_as, model.recipe)
        changes.callback(setattr, model, "recipe", model.recipe)
        model.use_rounds(rounds)
        yield


def _zeros(module: nn.Module, inputs: tuple[Tensor, ...], increment: Tensor) -> Tensor:
    return torch.zeros_like(increment)
