"""The heads of projections for CUDA: each part in one pass forward and one backward."""

from collections.abc import Sequence
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from revlm.ops.normalization import UNIT_EPSILON
from revlm.ops.triton.availability import on_device
from revlm.ops.triton.launch import Launch, blocks, kernel

_DTYPES = (torch.float32, torch.bfloat16)
_WIDEST = 2048
_ELEMENTS = 2048  # of a block of vectors


def takes(parts: Sequence[Tensor], rotary: tuple[Tensor, Tensor] | None) -> bool:
    """Returns whether the backend supports these parts."""
    fits = all(part.dtype in _DTYPES and part.stride(-1) == 1 and part.numel() > 0 for part in parts)
    tables = rotary is None or all(each.dtype == torch.float32 and each.is_contiguous() for each in rotary)
    return fits and tables and parts[0].shape[1] <= _WIDEST


def split(parts: Sequence[Tensor], out: Sequence[Tensor], units: int, rotary: tuple[Tensor, Tensor] | None) -> None:
    """Fills each of `out`, [heads, tokens, head_dim], from a part, [tokens, d_model]."""
    with on_device(parts[0].device):
        for number, (part, heads) in enumerate(zip(parts, out, strict=True)):
            forward_launch(part, heads, is_unit=number < units, rotary=rotary).run()


def split_backward(
    parts: Sequence[Tensor],
    d_out: Sequence[Tensor],
    d_parts: Sequence[Tensor],
    units: int,
    rotary: tuple[Tensor, Tensor] | None,
) -> None:
    """Fills the gradient of each part from that of its heads."""
    with on_device(parts[0].device):
        for number, (part, d_heads, d_part) in enumerate(zip(parts, d_out, d_parts, strict=True)):
            if number < units:
                backward_launch(part, d_heads, d_part, rotary).run()
            else:
                d_part.unflatten(-1, (d_heads.shape[0], -1)).copy_(d_heads.transpose(0, 1))


def forward_launch(part: Tensor, heads: Tensor, *, is_unit: bool, rotary: tuple[Tensor, Tensor] | None) -> Launch:
    """Returns the launch that fills the heads of a part."""
    arguments = _arguments(part, heads, rotary if is_unit else None, y=heads)
    return Launch(_split, (_vector_blocks(heads),), {**arguments, "IS_UNIT": is_unit}, {"num_warps": 4})


def backward_launch(part: Tensor, d_heads: Tensor, d_part: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Launch:
    """Returns the launch that fills the gradient of a part of unit vectors."""
    arguments = _arguments(part, d_heads, rotary, d_y=d_heads, d_x=d_part)
    return Launch(_unit_gradients, (_vector_blocks(d_heads),), arguments, {"num_warps": 4})


def _arguments(part: Tensor, heads: Tensor, rotary: tuple[Tensor, Tensor] | None, **others: Tensor) -> dict[str, Any]:
    n_heads, tokens, head_dim = heads.shape
    strides = {f"{name}_token": tensor.stride(-2) for name, tensor in {"x": part, **others}.items()}
    return {
        "x": part,
        **others,
        "cosine": None if rotary is None else rotary[0],
        "sine": None if rotary is None else rotary[1],
        "vectors": tokens * n_heads,
        "heads": n_heads,
        **strides,
        "head_stride": heads.stride(0),
        "epsilon": UNIT_EPSILON,
        "HEAD_DIM": head_dim,
        "BLOCK_D": triton.next_power_of_2(head_dim),
        "BLOCK": _block(head_dim),
    }


def _block(head_dim: int) -> int:
    return max(1, _ELEMENTS // triton.next_power_of_2(head_dim))


def _vector_blocks(heads: Tensor) -> int:
    return blocks(heads.shape[0] * heads.shape[1], _block(heads.shape[2]))


@kernel
@no_type_check
def _split(
    x,
    y,
    cosine,
    sine,
    vectors,
    heads,
    x_token,
    y_token,
    head_stride,
    epsilon,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
    IS_UNIT: tl.constexpr,
):
    """Writes a block of vectors: the heads of a token lie side by side in x, its tokens in y."""
    vector = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    token, head = vector // heads, vector % heads
    d = tl.arange(0, BLOCK_D)
    inside = (vector < vectors)[:, None] & (d < HEAD_DIM)[None, :]
    row = token * x_token + head * HEAD_DIM
    value = tl.load(x + row[:, None] + d[None, :], mask=inside, other=0.0).to(tl.float32)
    if IS_UNIT:
        inverse = tl.rsqrt(tl.sum(value * value, 1) + epsilon)[:, None]
        value *= inverse
        if cosine is not None:
            half = HEAD_DIM // 2
            partner = tl.load(x + row[:, None] + ((d + half) % HEAD_DIM)[None, :], mask=inside, other=0.0)
            partner = partner.to(tl.float32) * inverse
            at = (token * half)[:, None] + (d % half)[None, :]
            turned = tl.load(sine + at, mask=inside, other=0.0) * partner
            value = value * tl.load(cosine + at, mask=inside, other=0.0)
            value = tl.where((d < half)[None, :], value - turned, value + turned)
    y_at = (head * head_stride + token * y_token)[:, None] + d[None, :]
    tl.store(y + y_at, value.to(y.dtype.element_ty), mask=inside)


@kernel
@no_type_check
def _unit_gradients(
    x,
    d_y,
    d_x,
    cosine,
    sine,
    vectors,
    heads,
    x_token,
    d_y_token,
    d_x_token,
    head_stride,
    epsilon,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Turns the gradients of a block of vectors back, and projects them onto the plane across each vector."""
    vector = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    token, head = vector // heads, vector % heads
    d = tl.arange(0, BLOCK_D)
    inside = (vector < vectors)[:, None] & (d < HEAD_DIM)[None, :]
    value = tl.load(x + (token * x_token + head * HEAD_DIM)[:, None] + d[None, :], mask=inside, other=0.0)
    value = value.to(tl.float32)
    row = head * head_stride + token * d_y_token
    gradient = tl.load(d_y + row[:, None] + d[None, :], mask=inside, other=0.0).to(tl.float32)
    if cosine is not None:
        half = HEAD_DIM // 2
        partner = tl.load(d_y + row[:, None] + ((d + half) % HEAD_DIM)[None, :], mask=inside, other=0.0)
        at = (token * half)[:, None] + (d % half)[None, :]
        turned = tl.load(sine + at, mask=inside, other=0.0) * partner.to(tl.float32)
        gradient = gradient * tl.load(cosine + at, mask=inside, other=0.0)
        gradient = tl.where((d < half)[None, :], gradient + turned, gradient - turned)
    inverse = tl.rsqrt(tl.sum(value * value, 1) + epsilon)[:, None]
    unit = value * inverse
    change = (gradient - unit * tl.sum(gradient * unit, 1)[:, None]) * inverse
    d_x_at = (token * d_x_token + head * HEAD_DIM)[:, None] + d[None, :]
    tl.store(d_x + d_x_at, change.to(d_x.dtype.element_ty), mask=inside)
