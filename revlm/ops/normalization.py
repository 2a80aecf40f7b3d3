"""Vectors divided by their root mean square or by their length; only their input is saved for the gradients."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import Normalization, StridedTensor
from revlm.ops.triton import availability

# Tokens worked on at one time by PyTorch's own operations: on the CPU a few of their vectors stay in the cache, on CUDA
# each of the kernels has enough to do.
TILE = {"cpu": 1024, "cuda": 65536}
_EPSILON = 1e-6
UNIT_EPSILON = _EPSILON**2
"""Added to the square of a length before `unit_heads` divides by it."""
_WIDEST_KERNEL = 4096  # of a vector that a program on CUDA holds in registers
_COMPILED = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def rms_norm(
    x: Float[Tensor, "tokens width"], weight: Float[Tensor, "width"], dtype: torch.dtype | None = None
) -> Float[Tensor, "tokens width"]:
    """Returns `weight * x / sqrt(mean(x^2) + 1e-6)` in a dtype (None: x's); computed in float32 or better.

    Source: Zhang and Sennrich, arXiv 1910.07467, section 3.
    """
    return _normalize(x[:, None], weight, x.shape[-1], _EPSILON, x.dtype if dtype is None else dtype)[0]


def unit_heads(
    x: Float[Tensor, "tokens d_model"], n_heads: int, dtype: torch.dtype
) -> Float[Tensor, "heads tokens head_dim"]:
    """Returns the heads of each token, heads first, as vectors of length 1 in a dtype.

    Computed in float32 or better; a vector much shorter than 1e-6 stays short.
    """
    return _normalize(x.unflatten(-1, (n_heads, -1)), None, 1, UNIT_EPSILON, dtype)


def _normalize(x: Tensor, weight: Tensor | None, divisor: int, epsilon: float, dtype: torch.dtype) -> Tensor:
    """From [tokens, groups, width] to [groups, tokens, width]: `weight * x / sqrt(sum(x^2) / divisor + epsilon)`."""
    if torch.is_grad_enabled():
        return _Normalize.apply(x, weight, divisor, epsilon, dtype)
    return _normalized(x, weight, divisor, epsilon, dtype)  # an autograd function costs a token more than its norm


def _normalized(x: Tensor, weight: Tensor | None, divisor: int, epsilon: float, dtype: torch.dtype) -> Tensor:
    out = torch.empty(x.shape[1], x.shape[0], x.shape[2], dtype=dtype, device=x.device)
    if _can_be_kernel(x, weight, dtype):
        from revlm.ops.triton import normalization

        normalization.normalize(x, out.transpose(0, 1), weight, divisor, epsilon)
        return out
    if _can_be_compiled(x, weight, dtype):
        _call(x, weight, divisor, epsilon, y=out.transpose(0, 1))
        return out
    size = TILE.get(x.device.type, TILE["cpu"])
    for tile, y in zip(x.split(size), out.split(size, dim=1), strict=True):
        unit = _in_full(tile) * _inverse(tile, divisor, epsilon)
        y.copy_((unit if weight is None else unit.mul_(weight)).transpose(0, 1))
    return out


class _Normalize(torch.autograd.Function):
    """`_normalized` with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, divisor: int, epsilon: float, dtype: torch.dtype) -> Tensor:
        ctx.divisor, ctx.epsilon = divisor, epsilon
        ctx.compiled, ctx.by_kernel = _can_be_compiled(x, weight, dtype), _can_be_kernel(x, weight, dtype)
        ctx.save_for_backward(x, weight)
        return _normalized(x, weight, divisor, epsilon, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if ctx.by_kernel:
            return _backward_by_kernel(ctx, x, weight, d_out)
        d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        d_weight = None if weight is None else torch.zeros_like(weight)
        if ctx.compiled:
            d_y = (d_out if d_out.stride(-1) == 1 else d_out.contiguous()).transpose(0, 1)
            _call(x, weight, ctx.divisor, ctx.epsilon, d_y=d_y, d_x=d_x, d_weight=d_weight)
            return d_x, d_weight, None, None, None
        size = TILE.get(x.device.type, TILE["cpu"])
        for tile, d_y, d_of_tile in zip(x.split(size), d_out.split(size, dim=1), d_x.split(size), strict=True):
            inverse = _inverse(tile, ctx.divisor, ctx.epsilon)
            unit, gradient = _in_full(tile) * inverse, _in_full(d_y.transpose(0, 1))
            if weight is not None and d_weight is not None:
                d_weight += (gradient * unit).sum((0, 1))
                gradient = gradient * weight
            along = (gradient * unit).sum(-1, keepdim=True).div_(ctx.divisor)
            d_of_tile.copy_(torch.addcmul(gradient, unit, along, value=-1).mul_(inverse))
        return d_x, d_weight, None, None, None


def _backward_by_kernel(ctx: Any, x: Tensor, weight: Tensor | None, d_out: Tensor) -> tuple[Tensor | None, ...]:
    from revlm.ops.triton import normalization

    d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    d_y = (d_out if d_out.stride(-1) == 1 else d_out.contiguous()).transpose(0, 1)
    d_weight = normalization.normalize_backward(x, d_y, d_x, weight, ctx.divisor, ctx.epsilon)
    return d_x, d_weight, None, None, None


def _in_full(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _inverse(x: Tensor, divisor: int, epsilon: float) -> Tensor:
    return _in_full(x).square().sum(-1, keepdim=True).div_(divisor).add_(epsilon).rsqrt_()


def _can_be_compiled(x: Tensor, weight: Tensor | None, dtype: torch.dtype) -> bool:
    kinds = x.dtype in _COMPILED and dtype in _COMPILED and (weight is None or weight.dtype == torch.float32)
    return kinds and x.stride(-1) == 1 and x.device.type == "cpu" and library.builds()


def _can_be_kernel(x: Tensor, weight: Tensor | None, dtype: torch.dtype) -> bool:
    kinds = x.dtype in _COMPILED and dtype in _COMPILED and (weight is None or weight.dtype == torch.float32)
    fits = x.numel() > 0 and x.shape[-1] <= _WIDEST_KERNEL and x.stride(-1) == 1
    return kinds and fits and availability.runs_on(x.device)


def _call(
    x: Tensor,
    weight: Tensor | None,
    divisor: int,
    epsilon: float,
    *,
    y: Tensor | None = None,
    d_y: Tensor | None = None,
    d_x: Tensor | None = None,
    d_weight: Tensor | None = None,
) -> None:
    given = {"x": x, "y": y, "d_y": d_y, "d_x": d_x}
    strided = {name: StridedTensor.of(tensor) for name, tensor in given.items() if tensor is not None}
    vectors = {
        name: vector.data_ptr() for name, vector in (("weight", weight), ("d_weight", d_weight)) if vector is not None
    }
    problem = Normalization(*x.shape, torch.get_num_threads(), **strided, **vectors, divisor=divisor, epsilon=epsilon)
    other = y if y is not None else d_y
    assert other is not None
    library.call(f"normalize_{_COMPILED[x.dtype]}_{_COMPILED[other.dtype]}", problem, "a norm")
