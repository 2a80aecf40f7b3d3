"""The squared ReLU, in one pass each way; only the input is saved for the backward pass.

A backend has `square(x)`, which returns `relu(x)^2`, and `square_backward(x, d_out)`, which returns the gradient of x.
"""

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops import backends

__all__ = ["squared_relu"]


def squared_relu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns `relu(x)^2` (So et al., arXiv 2109.08668, section 4)."""
    backend = backends.implementation(__name__, x.device, x)
    if torch.is_grad_enabled():
        return _SquaredReLU.apply(x, backend)
    return backend.square(x)  # for a single token an autograd function costs more than the operation


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, backend: ModuleType) -> Tensor:
        ctx.backend = backend
        ctx.save_for_backward(x)
        return backend.square(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return ctx.backend.square_backward(x, d_out), None
