"""The gradient of an output written over it, compiled for the machine's CPU."""

import torch
from jaxtyping import Float
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import OutputGradient, StridedTensor

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float64: "float64"}


def takes(out: Tensor, d_out: Tensor, delta: Tensor) -> bool:
    """Returns whether the backend supports these inputs."""
    sums = torch.promote_types(out.dtype, torch.float32)
    return out.dtype in _NAMES and d_out.dtype == out.dtype and delta.dtype == sums and out.stride(-1) == 1


def write_gradient(
    out: Float[Tensor, "rows tokens head_dim"],
    d_out: Float[Tensor, "rows tokens head_dim"],
    delta: Float[Tensor, "rows tokens"],
) -> None:
    """Writes `(out * d_out).sum(-1)` to `delta`, and `d_out` over `out`."""
    d_out = d_out if d_out.stride(-1) == 1 else d_out.contiguous()
    tensors = (StridedTensor.of(each) for each in (out, d_out, delta[..., None]))
    problem = OutputGradient(*out.shape, torch.get_num_threads(), *tensors)
    library.call(f"write_gradient_{_NAMES[out.dtype]}", problem, "the gradient of attention's output")
