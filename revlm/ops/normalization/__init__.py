"""RMS norm and unit vectors; only the input is saved for the backward pass.

A backend has `normalize`, which fills `out` [groups, tokens, width] from x [tokens, groups, width] with
`weight * x / sqrt(sum(x^2) / divisor + epsilon)`, and `normalize_backward`, which fills d_x. One that `takes` int32
reads the numbers of a stream in place of x, in steps of `step`, and its `normalize_backward` adds to d_x where told to.
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops import backends
from revlm.ops.fixed_point import StreamTile
from revlm.ops.heap import hold_in_huge_pages
from revlm.ops.normalization.reference import TILE

__all__ = ["TILE", "UNIT_EPSILON", "rms_norm"]

_EPSILON = 1e-6
UNIT_EPSILON = _EPSILON**2
"""Added to the squared length of the unit vectors of heads (`revlm.ops.heads`)."""


class _Norm(NamedTuple):
    """The numbers of a norm, its result's dtype, its backend, and the stream that it reads, if any."""

    divisor: int
    epsilon: float
    dtype: torch.dtype
    backend: ModuleType
    stream: StreamTile | None = None

    def of(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Returns the norm of x [tokens, groups, width], or of the numbers of a stream: [groups, tokens, width]."""
        out = hold_in_huge_pages(torch.empty(x.shape[1], x.shape[0], x.shape[2], dtype=self.dtype, device=x.device))
        self.backend.normalize(x, weight, out, self.divisor, self.epsilon, **self._reading(x))
        return out

    def gradients(self, x: Tensor, weight: Tensor | None, d_out: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Returns the gradients of x and the weight; None for x where they were added to those of the stream."""
        d_out = d_out if d_out.stride(-1) == 1 else d_out.contiguous()
        options = self._reading(x)
        into = None if self.stream is None else self.stream.gradient
        if options and into is not None:
            options["add"] = True
            d_x = into[:, None]
        else:
            dtype = x.dtype if self.stream is None else self.stream.dtype
            d_x = hold_in_huge_pages(torch.empty(x.shape, dtype=dtype, device=x.device))
        d_weight = self.backend.normalize_backward(x, weight, d_out, d_x, self.divisor, self.epsilon, **options)
        if into is None:
            return d_x, d_weight
        if not options:
            into += d_x[:, 0]
        return None, d_weight

    def _reading(self, x: Tensor) -> dict[str, Any]:
        return {"step": self.stream.step} if self.stream is not None and not x.is_floating_point() else {}


def rms_norm(
    x: Float[Tensor, "tokens width"] | StreamTile, weight: Float[Tensor, "width"], dtype: torch.dtype | None = None
) -> Float[Tensor, "tokens width"]:
    """Returns `weight * x / sqrt(mean(x^2) + 1e-6)` in `dtype` (None: x's); computed in float32 or better.

    Source: Zhang and Sennrich, arXiv 1910.07467, section 3.
    """
    dtype = x.dtype if dtype is None else dtype
    if isinstance(x, StreamTile):
        return _of_stream(x, weight, dtype).squeeze(0)
    # Not indexed: the gradient of an index is copied into zeros.
    return _normalize(x[:, None], weight, x.shape[-1], _EPSILON, dtype).squeeze(0)


def _of_stream(tile: StreamTile, weight: Tensor, dtype: torch.dtype) -> Tensor:
    x = tile.numbers[:, None]
    backend = backends.implementation(__name__, x.device, x, weight, dtype)
    if not backend.takes(x, weight, dtype):
        x = tile.values()[:, None]
        backend = backends.implementation(__name__, x.device, x, weight, dtype)
    norm = _Norm(x.shape[-1], _EPSILON, dtype, backend, tile)
    if torch.is_grad_enabled():
        return _Normalize.apply(tile.leaf, x, weight, norm)
    return norm.of(x, weight)


def _normalize(x: Tensor, weight: Tensor | None, divisor: int, epsilon: float, dtype: torch.dtype) -> Tensor:
    norm = _Norm(divisor, epsilon, dtype, backends.implementation(__name__, x.device, x, weight, dtype))
    if torch.is_grad_enabled():
        return _Normalize.apply(x, x.detach(), weight, norm)
    # For a single token an autograd function costs more than the norm.
    return norm.of(x, weight)


class _Normalize(torch.autograd.Function):
    """A norm with its gradients; x, or the leaf of a stream's tile, stands for `given` in the graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, given: Tensor, weight: Tensor | None, norm: _Norm) -> Tensor:
        ctx.norm = norm
        ctx.save_for_backward(given, weight)
        return norm.of(given, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        given, weight = ctx.saved_tensors
        d_x, d_weight = ctx.norm.gradients(given, weight, d_out)
        if d_x is not None and ctx.norm.stream is not None:
            d_x = d_x[:, 0]
        return d_x, None, d_weight, None
