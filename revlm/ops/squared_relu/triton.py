"""The squared ReLU in one pass each way, for CUDA."""

from typing import no_type_check

import torch
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from revlm.ops.triton.availability import on_device
from revlm.ops.triton.launch import Launch, blocks, kernel

_BLOCK = 2048
_DTYPES = (torch.float32, torch.bfloat16)


def takes(x: Tensor) -> bool:
    """Returns whether the backend supports this input."""
    return x.dtype in _DTYPES and x.is_contiguous()


def square(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns `relu(x)^2`."""
    return _result(x, None)


def square_backward(x: Float[Tensor, "*shape"], d_out: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns the gradient of x, `2 * relu(x) * d_out`."""
    return _result(x, d_out.contiguous())


def _result(x: Tensor, d_out: Tensor | None) -> Tensor:
    out = torch.empty_like(x)
    if x.numel():
        with on_device(x.device):
            launch(x, d_out, out).run()
    return out


def launch(x: Tensor, d_out: Tensor | None, out: Tensor) -> Launch:
    """Returns the launch that fills `out` with the square, or with the gradient of x for that of the square."""
    arguments = {"x": x, "d_out": d_out, "out": out, "elements": x.numel(), "BLOCK": _BLOCK}
    return Launch(_squared_relu, (blocks(x.numel(), _BLOCK),), arguments, {"num_warps": 4})


@kernel
@no_type_check
def _squared_relu(x, d_out, out, elements, BLOCK: tl.constexpr):
    """Processes a block of elements."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    value = tl.where(value < 0.0, 0.0, value)  # not a maximum, which would hide a NaN
    if d_out is None:
        result = value * value
    else:
        result = 2.0 * value * tl.load(d_out + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, result.to(out.dtype.element_ty), mask=inside)
