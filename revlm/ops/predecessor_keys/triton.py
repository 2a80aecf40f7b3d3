"""Keys with predecessors in one pass each way, for CUDA."""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.normalization import UNIT_EPSILON
from revlm.ops.predecessor_keys.reference import first_tokens
from revlm.ops.triton.availability import on_device
from revlm.ops.triton.launch import Launch, blocks, kernel

_ELEMENTS = 2048  # of a block of keys
_DTYPES = (torch.float32, torch.bfloat16)


def takes(k: Tensor) -> bool:
    """Returns whether the backend supports these keys."""
    return k.dtype in _DTYPES and k.stride(-1) == 1 and k.numel() > 0


def add_predecessors(
    k: Float[Tensor, "heads tokens head_dim"],
    starts: Int[Tensor, "documents"],
    weight: Float[Tensor, "heads"],
    out: Float[Tensor, "heads tokens head_dim"],
) -> None:
    """Fills `out` with the unit vectors of `k[t] + weight * k[t - 1]`."""
    with on_device(k.device):
        forward_launch(k, first_tokens(k, starts), weight, out).run()


def add_predecessors_backward(
    k: Float[Tensor, "heads tokens head_dim"],
    starts: Int[Tensor, "documents"],
    weight: Float[Tensor, "heads"],
    d_out: Float[Tensor, "heads tokens head_dim"],
    d_k: Float[Tensor, "heads tokens head_dim"],
) -> Float[Tensor, "heads"]:
    """Fills d_k, possibly in the memory of d_out; returns the gradient of the weight."""
    # A block reads the gradient of the first token after it, which another one would write over.
    d_out = d_out.clone() if d_out.data_ptr() == d_k.data_ptr() else d_out
    d_weight = weight.new_empty(k.shape[0], blocks(k.shape[1], _block(k.shape[2])))
    with on_device(k.device):
        backward_launch(k, first_tokens(k, starts), weight, d_out, d_k, d_weight).run()
    return d_weight.sum(1)


def forward_launch(k: Tensor, is_first: Tensor, weight: Tensor, out: Tensor) -> Launch:
    """Returns the launch that fills `out`; `is_first` is that of `reference.first_tokens`."""
    arguments = _arguments(k, is_first, weight, out=out)
    return Launch(_add_predecessors, _grid(k), arguments, {"num_warps": 4})


def backward_launch(
    k: Tensor, is_first: Tensor, weight: Tensor, d_out: Tensor, d_k: Tensor, d_weight: Tensor
) -> Launch:
    """Returns the launch that fills d_k, and d_weight with the sum of each block of tokens."""
    arguments = _arguments(k, is_first, weight, d_out=d_out, d_k=d_k)
    return Launch(_predecessor_gradients, _grid(k), {**arguments, "d_weight": d_weight}, {"num_warps": 4})


def _arguments(k: Tensor, is_first: Tensor, weight: Tensor, **others: Tensor) -> dict[str, Any]:
    tensors = {"k": k, **others}
    return {
        **tensors,
        "is_first": is_first,
        "predecessor_weight": weight,
        "tokens": k.shape[1],
        **{f"{name}_row": each.stride(0) for name, each in tensors.items()},
        **{f"{name}_token": each.stride(1) for name, each in tensors.items()},
        "epsilon": UNIT_EPSILON,
        "HEAD_DIM": k.shape[2],
        "BLOCK_D": triton.next_power_of_2(k.shape[2]),
        "BLOCK": _block(k.shape[2]),
    }


def _block(head_dim: int) -> int:
    return max(1, _ELEMENTS // triton.next_power_of_2(head_dim))


def _grid(k: Tensor) -> tuple[int, int]:
    return blocks(k.shape[1], _block(k.shape[2])), k.shape[0]


@triton.jit
@no_type_check
def _vectors(at, row_stride, token_stride, row, token, exists, d, HEAD_DIM: tl.constexpr):
    """Loads the vectors of some tokens of a row, zero where they do not exist."""
    inside = exists[:, None] & (d < HEAD_DIM)[None, :]
    return tl.load(at + row * row_stride + (token * token_stride)[:, None] + d[None, :], mask=inside, other=0.0).to(
        tl.float32
    )


@triton.jit
@no_type_check
def _sum_gradient(sums, gradient, epsilon):
    """Returns the gradient of sums from that of their unit vectors."""
    inverse = tl.rsqrt(tl.sum(sums * sums, 1) + epsilon)[:, None]
    unit = sums * inverse
    return (gradient - unit * tl.sum(gradient * unit, 1)[:, None]) * inverse


@kernel
@no_type_check
def _add_predecessors(
    k,
    out,
    is_first,
    predecessor_weight,
    tokens,
    k_row,
    out_row,
    k_token,
    out_token,
    epsilon,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Processes a block of tokens of one row."""
    row = tl.program_id(1).to(tl.int64)
    token = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    exists = token < tokens
    follows = exists & (tl.load(is_first + token, mask=exists, other=1) == 0)
    weight = tl.load(predecessor_weight + row)
    previous = _vectors(k, k_row, k_token, row, token - 1, follows, d, HEAD_DIM)
    sums = _vectors(k, k_row, k_token, row, token, exists, d, HEAD_DIM) + weight * previous
    unit = sums * tl.rsqrt(tl.sum(sums * sums, 1) + epsilon)[:, None]
    inside = exists[:, None] & (d < HEAD_DIM)[None, :]
    places = row * out_row + (token * out_token)[:, None] + d[None, :]
    tl.store(out + places, unit.to(out.dtype.element_ty), mask=inside)


@kernel
@no_type_check
def _predecessor_gradients(
    k,
    d_out,
    d_k,
    d_weight,
    is_first,
    predecessor_weight,
    tokens,
    k_row,
    d_out_row,
    d_k_row,
    k_token,
    d_out_token,
    d_k_token,
    epsilon,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Processes a block of tokens of one row: a key's gradient is that of its own sum and of the next token's."""
    row = tl.program_id(1).to(tl.int64)
    token = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    exists = token < tokens
    follows = exists & (tl.load(is_first + token, mask=exists, other=1) == 0)
    goes_on = exists & (tl.load(is_first + token + 1, mask=exists, other=1) == 0)
    weight = tl.load(predecessor_weight + row)
    own = _vectors(k, k_row, k_token, row, token, exists, d, HEAD_DIM)
    previous = _vectors(k, k_row, k_token, row, token - 1, follows, d, HEAD_DIM)
    gradient = _vectors(d_out, d_out_row, d_out_token, row, token, exists, d, HEAD_DIM)
    d_sum = _sum_gradient(own + weight * previous, gradient, epsilon)
    tl.store(d_weight + row * tl.num_programs(0) + tl.program_id(0), tl.sum(tl.sum(d_sum * previous, 1), 0))
    following = _vectors(k, k_row, k_token, row, token + 1, goes_on, d, HEAD_DIM)
    gradient = _vectors(d_out, d_out_row, d_out_token, row, token + 1, goes_on, d, HEAD_DIM)
    d_next = _sum_gradient(following + weight * own, gradient, epsilon)
    d_sum += tl.where(goes_on[:, None], weight * d_next, 0.0)
    inside = exists[:, None] & (d < HEAD_DIM)[None, :]
    places = row * d_k_row + (token * d_k_token)[:, None] + d[None, :]
    tl.store(d_k + places, d_sum.to(d_k.dtype.element_ty), mask=inside)
