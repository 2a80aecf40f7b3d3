"""The squared ReLU, compiled for the machine's CPU."""

import torch
from jaxtyping import Float
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import SquaredReLU

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def takes(x: Tensor) -> bool:
    """Returns whether the backend supports this input."""
    return x.dtype in _NAMES and x.is_contiguous()


def square(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns `relu(x)^2`."""
    return _call(x, None)


def square_backward(x: Float[Tensor, "*shape"], d_out: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns the gradient of x, `2 * relu(x) * d_out`."""
    return _call(x, d_out.contiguous())


def _call(x: Tensor, d_out: Tensor | None) -> Tensor:
    out = torch.empty_like(x)
    given = 0 if d_out is None else d_out.data_ptr()
    problem = SquaredReLU(x.numel(), torch.get_num_threads(), x.data_ptr(), given, out.data_ptr())
    library.call(f"squared_relu_{_NAMES[x.dtype]}", problem, "the squared ReLU")
    return out
