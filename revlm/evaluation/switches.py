"""Temporary changes to a model: attention set to zero, or another number of hashing rounds."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice

import torch
from torch import Tensor, nn

from revlm.model import RevLM
from revlm.model.kinds.lsh import HashAttention
from revlm.ops.hashing import directions_of, draw_rotations


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
    """Makes the hash layers use `rounds` rounds for the block: the first of the saved ones, and further ones if needed.

    A round's rotations depend only on (seed, layer, head, round), so further rounds leave the saved ones unchanged.
    Their numbers of buckets repeat those of the saved rounds in turn.
    """
    with ExitStack() as changes:
        for layer in model.hash_layers:
            name, mix = f"rotations_{layer}", model.attention(layer).mix
            assert isinstance(mix, HashAttention)
            saved, n_buckets = model.get_buffer(name), tuple(islice(cycle(mix.n_buckets), rounds))
            changes.callback(setattr, model, name, saved)
            changes.callback(setattr, mix, "n_buckets", mix.n_buckets)
            setattr(model, name, _with_rounds(model, layer, saved, n_buckets))
            mix.n_buckets = n_buckets
        yield


def _zeros(module: nn.Module, inputs: tuple[Tensor, ...], increment: Tensor) -> Tensor:
    return torch.zeros_like(increment)


def _with_rounds(model: RevLM, layer: int, saved: Tensor, n_buckets: tuple[int, ...]) -> Tensor:
    directions, (heads, head_dim, n_saved) = directions_of(n_buckets), saved.shape
    if directions <= n_saved:
        return saved[..., :directions]
    drawn = draw_rotations(model.seed, None, layer, heads, head_dim, n_buckets)
    return torch.cat([saved, drawn[..., n_saved:].to(saved)], dim=-1)
