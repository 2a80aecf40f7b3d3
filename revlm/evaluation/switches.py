"""Temporary changes of a model: attention set to zero, or another number of hashing rounds."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from revlm.model import RevLM
from revlm.ops.hashing import draw_rotations


@contextmanager
def attention_set_to_zero(model: RevLM, layers: Collection[int]) -> Iterator[None]:
    """For a block, the increments of these layers' attention are zero, as if their last projections were."""
    with ExitStack() as hooks:
        for layer in layers:
            handle = model.attention(layer).write.register_forward_hook(_zeros)
            hooks.callback(handle.remove)
        yield


@contextmanager
def rounds_of_hashing(model: RevLM, rounds: int) -> Iterator[None]:
    """For a block, the hash layers hash in so many rounds: the first of those saved, and beyond them new ones.

    A round's rotations depend on (seed, layer, head, round) alone, so more rounds extend the first ones unchanged.
    """
    saved = {f"rotations_{layer}": model.get_buffer(f"rotations_{layer}") for layer in model.hash_layers}
    try:
        for layer, (name, rotations) in zip(model.hash_layers, saved.items(), strict=True):
            setattr(model, name, _with_rounds(model, layer, rotations, rounds))
        yield
    finally:
        for name, rotations in saved.items():
            setattr(model, name, rotations)


def _zeros(module: nn.Module, inputs: tuple[Tensor, ...], increment: Tensor) -> Tensor:
    return torch.zeros_like(increment)


def _with_rounds(model: RevLM, layer: int, saved: Tensor, rounds: int) -> Tensor:
    heads, n_saved, head_dim, _ = saved.shape
    if rounds <= n_saved:
        return saved[:, :rounds]
    n_buckets = model.recipe.n_buckets
    assert isinstance(n_buckets, int)
    drawn = draw_rotations(model.seed, None, layer, heads, rounds, head_dim, n_buckets)
    return torch.cat([saved, drawn[:, n_saved:].to(saved)], dim=1)
