"""The gradient of an output written over it, with PyTorch's operations."""

import torch
from jaxtyping import Float
from torch import Tensor


def write_gradient(
    out: Float[Tensor, "rows tokens head_dim"],
    d_out: Float[Tensor, "rows tokens head_dim"],
    delta: Float[Tensor, "rows tokens"],
) -> None:
    """Writes `(out * d_out).sum(-1)` to `delta`, in delta's dtype, and `d_out` over `out`."""
    with torch.no_grad():
        delta.copy_((out.to(delta.dtype) * d_out.to(delta.dtype)).sum(-1))
        out.copy_(d_out)
