"""Queries, keys and values, head by head: unit vectors, rotated by their positions, cast and written in one pass.

A backend has `split(parts, out, units, rotary)`, which fills each of `out`, [heads, tokens, head_dim], from a part of a
projection, [tokens, d_model]; the first `units` become unit vectors, and with `rotary` (cosine, sine) are rotated. Its
`split_backward` fills the gradients of the parts, given the parts again.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops import backends

__all__ = ["RotaryTable", "split_heads"]

RotaryTable = tuple[Tensor, Tensor]
"""The cosines and the sines of some positions, each [tokens, half of head_dim]."""


class _Split(NamedTuple):
    """What is done with the parts of projections, and by which backend."""

    n_heads: int
    units: int
    rotary: RotaryTable | None
    backend: ModuleType

    def results(self, parts: list[Tensor], into: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
        """Returns the heads of the parts, written `into` where that is given."""
        out = tuple(part.new_empty(self.shape(part)) for part in parts) if into is None else tuple(into)
        self.backend.split(parts, out, self.units, self.rotary)
        return out

    def without_memory(self, parts: list[Tensor]) -> tuple[Tensor, ...]:
        """Returns tensors of the results' shapes, of one number each."""
        return tuple(part.new_empty(()).expand(self.shape(part)) for part in parts)

    def shape(self, part: Tensor) -> tuple[int, int, int]:
        """Returns the shape of the heads of a part."""
        tokens, width = part.shape
        return self.n_heads, tokens, width // self.n_heads


def split_heads(
    projections: Sequence[Float[Tensor, "tokens _"]],
    n_heads: int,
    d_model: int,
    *,
    units: int,
    rotary: RotaryTable | None = None,
    into: Sequence[Float[Tensor, "heads tokens head_dim"]] | None = None,
    only_graph: bool = False,
) -> tuple[Float[Tensor, "heads tokens head_dim"], ...]:
    """Returns each part of some projections with its heads as the first axis, in the projections' dtype.

    A part is [tokens, d_model]; a projection may hold several side by side. The first `units` parts become unit vectors
    (a vector much shorter than 1e-6 stays short), and with `rotary` are rotated by their positions (Su et al., arXiv
    2104.09864, section 3.2), both in float32 or better.

    Where tensors are given, the results are written `into` them; those returned in a graph then have no memory and
    serve gradients alone. With `only_graph` they do, too, and nothing is written.
    """
    parts = _parts(projections, d_model)
    backend = backends.implementation(__name__, parts[0].device, parts, rotary)
    split = _Split(n_heads, units, rotary, backend)
    if not torch.is_grad_enabled():
        return split.results(parts, into)
    if into is not None and not only_graph:
        split.results([part.detach() for part in parts], into)
    return _SplitHeads.apply(split, d_model, into is not None or only_graph, *projections)


def _parts(projections: Sequence[Tensor], d_model: int) -> list[Tensor]:
    return [part for projection in projections for part in projection.split(d_model, dim=-1)]


class _SplitHeads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, split: _Split, d_model: int, for_gradients: bool, *projections: Tensor) -> tuple[Tensor, ...]:
        ctx.split, ctx.d_model = split, d_model
        ctx.save_for_backward(*projections)
        parts = _parts(projections, d_model)
        return split.without_memory(parts) if for_gradients else split.results(parts, None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_out: Tensor) -> tuple[Tensor | None, ...]:
        projections, split = ctx.saved_tensors, ctx.split
        gradients = [torch.empty(each.shape, dtype=each.dtype, device=each.device) for each in projections]
        given = [each if each.stride(-1) == 1 else each.contiguous() for each in d_out]
        parts, d_parts = _parts(projections, ctx.d_model), _parts(gradients, ctx.d_model)
        split.backend.split_backward(parts, given, d_parts, split.units, split.rotary)
        return (None, None, None, *gradients)
