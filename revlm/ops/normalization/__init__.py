"""RMS norm and unit vectors; only the input is saved for the backward pass.

A backend has `normalize`, which fills `out` [groups, tokens, width] from x [tokens, groups, width] with
`weight * x / sqrt(sum(x^2) / divisor + epsilon)`, and `normalize_backward`, which fills d_x.
"""

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops import backends
from revlm.ops.normalization.reference import TILE

__all__ = ["TILE", "UNIT_EPSILON", "rms_norm", "unit_heads"]

_EPSILON = 1e-6
UNIT_EPSILON = _EPSILON**2
"""Added to the squared length in `unit_heads`."""


def rms_norm(
    x: Float[Tensor, "tokens width"], weight: Float[Tensor, "width"], dtype: torch.dtype | None = None
) -> Float[Tensor, "tokens width"]:
    """Returns `weight * x / sqrt(mean(x^2) + 1e-6)` in `dtype` (None: x's); computed in float32 or better.

    Source: Zhang and Sennrich, arXiv 1910.07467, section 3.
    """
    return _normalize(x[:, None], weight, x.shape[-1], _EPSILON, x.dtype if dtype is None else dtype)[0]


def unit_heads(
    x: Float[Tensor, "tokens d_model"], n_heads: int, dtype: torch.dtype
) -> Float[Tensor, "heads tokens head_dim"]:
    """Returns the heads of each token as unit vectors in `dtype`, with the heads as the first axis.

    Computed in float32 or better; a vector much shorter than 1e-6 stays short.
    """
    return _normalize(x.unflatten(-1, (n_heads, -1)), None, 1, UNIT_EPSILON, dtype)


def _normalize(x: Tensor, weight: Tensor | None, divisor: int, epsilon: float, dtype: torch.dtype) -> Tensor:
    backend = backends.implementation(__name__, x.device, x, weight, dtype)
    if torch.is_grad_enabled():
        return _Normalize.apply(x, weight, divisor, epsilon, dtype, backend)
    # For a single token an autograd function costs more than the norm.
    return _normalized(x, weight, divisor, epsilon, dtype, backend)


def _normalized(
    x: Tensor, weight: Tensor | None, divisor: int, epsilon: float, dtype: torch.dtype, backend: ModuleType
) -> Tensor:
    out = torch.empty(x.shape[1], x.shape[0], x.shape[2], dtype=dtype, device=x.device)
    backend.normalize(x, weight, out, divisor, epsilon)
    return out


class _Normalize(torch.autograd.Function):
    """`_normalized` with its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        divisor: int,
        epsilon: float,
        dtype: torch.dtype,
        backend: ModuleType,
    ) -> Tensor:
        ctx.divisor, ctx.epsilon, ctx.backend = divisor, epsilon, backend
        ctx.save_for_backward(x, weight)
        return _normalized(x, weight, divisor, epsilon, dtype, backend)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        d_out = d_out if d_out.stride(-1) == 1 else d_out.contiguous()
        d_weight = ctx.backend.normalize_backward(x, weight, d_out, d_x, ctx.divisor, ctx.epsilon)
        return d_x, d_weight, None, None, None, None
