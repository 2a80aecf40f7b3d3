"""The squared ReLU, which saves one tensor and has a backward pass of one pass over it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def squared_relu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns `relu(x)^2` (So et al., arXiv 2109.08668, section 4)."""
    if torch.is_grad_enabled():
        return _SquaredReLU.apply(x)
    return x.clamp_min(0).square_()  # for a single token an autograd function costs more than the two operations


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.clamp_min(0)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (d_out * positive).mul_(2)  # where x was negative, `positive` is zero
