"""The gradient of an output written over it in one pass, for CUDA."""

from typing import no_type_check

import torch
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from revlm.ops.triton.availability import on_device
from revlm.ops.triton.launch import SUM_TYPES, Launch, blocks, kernel, padded

_ELEMENTS = 2048
_DTYPES = (torch.float32, torch.bfloat16)


def takes(out: Tensor, d_out: Tensor, delta: Tensor) -> bool:
    """Returns whether the backend supports these inputs."""
    unit = out.stride(-1) == d_out.stride(-1) == delta.stride(-1) == 1
    return out.dtype in _DTYPES and d_out.dtype == out.dtype and delta.dtype == torch.float32 and unit


def write_gradient(
    out: Float[Tensor, "rows tokens head_dim"],
    d_out: Float[Tensor, "rows tokens head_dim"],
    delta: Float[Tensor, "rows tokens"],
) -> None:
    """Writes `(out * d_out).sum(-1)` to `delta`, and `d_out` over `out`."""
    if out.numel():
        with on_device(out.device):
            launch(out, d_out, delta).run()


def launch(out: Tensor, d_out: Tensor, delta: Tensor) -> Launch:
    """Returns the launch for some tokens of all rows."""
    rows, tokens, head_dim = out.shape
    block = max(1, _ELEMENTS // padded(head_dim))
    arguments = {
        "out": out,
        "d_out": d_out,
        "delta": delta,
        "tokens": tokens,
        "out_row": out.stride(0),
        "out_token": out.stride(1),
        "d_out_row": d_out.stride(0),
        "d_out_token": d_out.stride(1),
        "delta_row": delta.stride(0),
        "HEAD_DIM": head_dim,
        "BLOCK_D": padded(head_dim),
        "BLOCK": block,
        "SUMS": SUM_TYPES[delta.dtype],
    }
    return Launch(_write_gradient, (blocks(tokens, block), rows), arguments, {"num_warps": 4})


@kernel
@no_type_check
def _write_gradient(
    out,
    d_out,
    delta,
    tokens,
    out_row,
    out_token,
    d_out_row,
    d_out_token,
    delta_row,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
    SUMS: tl.constexpr,
):
    """Processes a block of tokens of one row."""
    row = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    exists = at < tokens
    inside = exists[:, None] & (d < HEAD_DIM)[None, :]
    gradient = tl.load(d_out + row * d_out_row + (at * d_out_token)[:, None] + d[None, :], mask=inside, other=0.0)
    places = row * out_row + (at * out_token)[:, None] + d[None, :]
    value = tl.load(out + places, mask=inside, other=0.0)
    tl.store(delta + row * delta_row + at, tl.sum(value.to(SUMS) * gradient.to(SUMS), 1), mask=exists)
    tl.store(out + places, gradient, mask=inside)
