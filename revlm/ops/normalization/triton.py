"""Norms in registers, in one pass over the input for each of forward and backward."""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from revlm.ops.triton.availability import on_device
from revlm.ops.triton.launch import Launch, blocks, kernel

_DTYPES = (torch.float32, torch.bfloat16)
_WIDEST = 4096  # the widest vector that a program holds in registers
_ELEMENTS = 4096  # elements of a block of vectors
_PROGRAMS = 1024  # each sums its part of the weight's gradient


def takes(x: Tensor, weight: Tensor | None, dtype: torch.dtype) -> bool:
    """Returns whether the backend supports these inputs."""
    dtypes = (
        x.dtype in (*_DTYPES, torch.int32) and dtype in _DTYPES and (weight is None or weight.dtype == torch.float32)
    )
    return dtypes and x.numel() > 0 and x.shape[-1] <= _WIDEST and x.stride(-1) == 1


def normalize(
    x: Tensor, weight: Tensor | None, out: Tensor, divisor: int, epsilon: float, *, step: float = 1.0
) -> None:
    """Fills `out` [groups, tokens, width] from x [tokens, groups, width], in steps of `step`."""
    with on_device(x.device):
        forward_launch(x, out.transpose(0, 1), weight, divisor, epsilon, step).run()


def normalize_backward(
    x: Tensor,
    weight: Tensor | None,
    d_out: Tensor,
    d_x: Tensor,
    divisor: int,
    epsilon: float,
    *,
    step: float = 1.0,
    add: bool = False,
) -> Tensor | None:
    """Fills d_x with the gradient of x, [tokens, groups, width], or adds it; returns the weight's.

    That of the weight is summed in a fixed order.
    """
    programs = min(_PROGRAMS, _row_blocks(x))
    parts = None if weight is None else x.new_empty(programs, x.shape[2], dtype=torch.float32)
    with on_device(x.device):
        backward_launch(
            x, d_out.transpose(0, 1), d_x, weight, parts, divisor, epsilon, programs, step=step, add=add
        ).run()
    return None if parts is None else parts.sum(0)


def forward_launch(
    x: Tensor, y: Tensor, weight: Tensor | None, divisor: int, epsilon: float, step: float = 1.0
) -> Launch:
    """Returns the launch of the forward pass."""
    arguments = _arguments(x, weight, divisor, epsilon, step, y=y)
    return Launch(_normalize, (_row_blocks(x),), arguments, {"num_warps": 4})


def backward_launch(
    x: Tensor,
    d_y: Tensor,
    d_x: Tensor,
    weight: Tensor | None,
    parts: Tensor | None,
    divisor: int,
    epsilon: float,
    programs: int,
    *,
    step: float = 1.0,
    add: bool = False,
) -> Launch:
    """Returns the launch of the backward pass; `parts` are each program's sums of the weight's gradient."""
    arguments = {**_arguments(x, weight, divisor, epsilon, step, d_y=d_y, d_x=d_x), "parts": parts, "ADD": add}
    # Adding in the kernel or after it gives the same bits as long as it does not multiply and add in one instruction.
    return Launch(_normalize_gradients, (programs,), arguments, {"num_warps": 8, "enable_fp_fusion": False})


def _arguments(
    x: Tensor, weight: Tensor | None, divisor: int, epsilon: float, step: float, **others: Tensor
) -> dict[str, Any]:
    tensors = {"x": x, **others}
    strides = {
        f"{name}_{axis}": tensor.stride(dimension)
        for name, tensor in tensors.items()
        for dimension, axis in enumerate(("token", "group"))
    }
    tokens, groups, width = x.shape
    return {
        **tensors,
        "weight": weight,
        "vectors": tokens * groups,
        **strides,
        "divisor": float(divisor),
        "epsilon": epsilon,
        "step": step,
        "GROUPS": groups,
        "WIDTH": width,
        "BLOCK_WIDTH": triton.next_power_of_2(width),
        "BLOCK": _block(width),
    }


def _block(width: int) -> int:
    return max(1, _ELEMENTS // triton.next_power_of_2(width))


def _row_blocks(x: Tensor) -> int:
    return blocks(x.shape[0] * x.shape[1], _block(x.shape[2]))


@kernel
@no_type_check
def _normalize(
    x,
    y,
    weight,
    vectors,
    x_token,
    x_group,
    y_token,
    y_group,
    divisor,
    epsilon,
    step,
    GROUPS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Normalizes a block of vectors."""
    vector = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    token, group = vector // GROUPS, vector % GROUPS
    along = tl.arange(0, BLOCK_WIDTH)
    inside = (vector < vectors)[:, None] & (along < WIDTH)[None, :]
    value = tl.load(x + (token * x_token + group * x_group)[:, None] + along[None, :], mask=inside, other=0.0)
    value = value.to(tl.float32) * step
    unit = value * tl.rsqrt(tl.sum(value * value, 1) / divisor + epsilon)[:, None]
    if weight is not None:
        unit *= tl.load(weight + along, mask=along < WIDTH, other=0.0)[None, :]
    y_at = (token * y_token + group * y_group)[:, None] + along[None, :]
    tl.store(y + y_at, unit.to(y.dtype.element_ty), mask=inside)


@kernel
@no_type_check
def _normalize_gradients(
    x,
    d_y,
    d_x,
    weight,
    parts,
    vectors,
    x_token,
    x_group,
    d_y_token,
    d_y_group,
    d_x_token,
    d_x_group,
    divisor,
    epsilon,
    step,
    GROUPS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    ADD: tl.constexpr,
):
    """Processes every num_programs-th block of vectors, and sums their part of the weight's gradient."""
    along = tl.arange(0, BLOCK_WIDTH)
    of_weight = tl.zeros([BLOCK, BLOCK_WIDTH], tl.float32)
    stride = tl.num_programs(0).to(tl.int64) * BLOCK
    for start in range(tl.program_id(0).to(tl.int64) * BLOCK, vectors, stride):
        vector = start + tl.arange(0, BLOCK)
        token, group = vector // GROUPS, vector % GROUPS
        inside = (vector < vectors)[:, None] & (along < WIDTH)[None, :]
        value = tl.load(x + (token * x_token + group * x_group)[:, None] + along[None, :], mask=inside, other=0.0)
        value = value.to(tl.float32) * step
        d_y_at = (token * d_y_token + group * d_y_group)[:, None] + along[None, :]
        gradient = tl.load(d_y + d_y_at, mask=inside, other=0.0).to(tl.float32)
        inverse = tl.rsqrt(tl.sum(value * value, 1) / divisor + epsilon)
        unit = value * inverse[:, None]
        if weight is not None:
            of_weight += gradient * unit
            gradient *= tl.load(weight + along, mask=along < WIDTH, other=0.0)[None, :]
        in_direction = tl.sum(gradient * unit, 1) / divisor
        change = (gradient - unit * in_direction[:, None]) * inverse[:, None]
        d_x_at = (token * d_x_token + group * d_x_group)[:, None] + along[None, :]
        if ADD:
            change += tl.load(d_x + d_x_at, mask=inside, other=0.0)
        tl.store(d_x + d_x_at, change.to(d_x.dtype.element_ty), mask=inside)
    if weight is not None:
        tl.store(parts + tl.program_id(0) * WIDTH + along, tl.sum(of_weight, 0), mask=along < WIDTH)
