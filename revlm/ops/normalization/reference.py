"""Norms with PyTorch's operations, in float32 or better."""

import torch
from torch import Tensor

TILE = {"cpu": 1024, "cuda": 65536}
"""Tokens processed at a time, by kind of device: few enough for the CPU's cache, enough to occupy CUDA's kernels."""


def takes(x: Tensor, weight: Tensor | None, dtype: torch.dtype) -> bool:
    """Returns whether the backend supports these inputs: any floating-point numbers."""
    return x.is_floating_point()


def normalize(x: Tensor, weight: Tensor | None, out: Tensor, divisor: int, epsilon: float) -> None:
    """Fills `out` [groups, tokens, width] from x [tokens, groups, width]."""
    size = _tile(x)
    for tile, y in zip(x.split(size), out.split(size, dim=1), strict=True):
        unit = _in_full(tile) * _inverse(tile, divisor, epsilon)
        y.copy_((unit if weight is None else unit.mul_(weight)).transpose(0, 1))


def normalize_backward(
    x: Tensor, weight: Tensor | None, d_out: Tensor, d_x: Tensor, divisor: int, epsilon: float
) -> Tensor | None:
    """Fills d_x with the gradient of x, [tokens, groups, width]; returns the weight's."""
    d_weight, size = None if weight is None else torch.zeros_like(weight), _tile(x)
    for tile, d_y, d_of_tile in zip(x.split(size), d_out.split(size, dim=1), d_x.split(size), strict=True):
        inverse = _inverse(tile, divisor, epsilon)
        unit, gradient = _in_full(tile) * inverse, _in_full(d_y.transpose(0, 1))
        if weight is not None and d_weight is not None:
            d_weight += (gradient * unit).sum((0, 1))
            gradient = gradient * weight
        along = (gradient * unit).sum(-1, keepdim=True).div_(divisor)
        d_of_tile.copy_(torch.addcmul(gradient, unit, along, value=-1).mul_(inverse))
    return d_weight


def _tile(x: Tensor) -> int:
    return TILE.get(x.device.type, TILE["cpu"])


def _in_full(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _inverse(x: Tensor, divisor: int, epsilon: float) -> Tensor:
    return _in_full(x).square().sum(-1, keepdim=True).div_(divisor).add_(epsilon).rsqrt_()
