"""The squared ReLU with PyTorch's operations."""

from jaxtyping import Float
from torch import Tensor


def square(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns `relu(x)^2`."""
    return x.clamp_min(0).square_()


def square_backward(x: Float[Tensor, "*shape"], d_out: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns the gradient of x, `2 * relu(x) * d_out`."""
    return x.clamp_min(0).mul_(d_out).mul_(2)
