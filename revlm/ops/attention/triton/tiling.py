"""The number of queries and keys per program, chosen so that almost no registers are spilled on sm_80 and sm_90.

`scripts/compile_kernels.py` shows the registers and spills of each choice; their speed must be measured on a GPU.
"""

from typing import NamedTuple

import torch

_SMALLEST = 16  # the smallest block of `tl.dot`


class Tiling(NamedTuple):
    """A kernel's block sizes of queries and keys, and its Triton options."""

    queries: int
    keys: int
    options: dict[str, int]


def forward_tiling(head_dim: int, dtype: torch.dtype, block: int) -> Tiling:
    """Returns the tiling of the forward kernel; `block` is the requested number of queries."""
    queries, keys, stages = _FORWARD[_kind(head_dim, dtype)]
    return Tiling(_at_most(block, queries), keys, {"num_warps": 4, "num_stages": stages})


def query_tiling(head_dim: int, dtype: torch.dtype, block: int) -> Tiling:
    """Returns the tiling of the kernel for the gradients of queries."""
    queries, keys, stages = _QUERY_GRADIENTS[_kind(head_dim, dtype)]
    return Tiling(_at_most(block, queries), keys, {"num_warps": 4, "num_stages": stages})


def key_tiling(head_dim: int, dtype: torch.dtype, block: int) -> Tiling:
    """Returns the tiling of the kernel for the gradients of keys and values."""
    queries, keys, stages = _KEY_GRADIENTS[_kind(head_dim, dtype)]
    return Tiling(_at_most(block, queries), keys, {"num_warps": 4, "num_stages": stages})


# By (half precision, wide heads): the most queries, the keys, and the stages of software pipelining.
_FORWARD = {
    (True, False): (64, 32, 2),
    (True, True): (64, 32, 1),
    (False, False): (32, 32, 1),
    (False, True): (16, 32, 1),
}
_QUERY_GRADIENTS = {
    (True, False): (64, 32, 2),
    (True, True): (32, 32, 1),
    (False, False): (32, 32, 1),
    (False, True): (16, 32, 1),
}
_KEY_GRADIENTS = {
    (True, False): (32, 64, 2),
    (True, True): (32, 32, 1),
    (False, False): (16, 32, 1),
    (False, True): (16, 16, 1),
}


def _kind(head_dim: int, dtype: torch.dtype) -> tuple[bool, bool]:
    return dtype.itemsize == 2, head_dim > 64


def _at_most(block: int, limit: int) -> int:
    """Returns the largest power of two up to `block` and `limit`, and at least 16."""
    return max(_SMALLEST, min(1 << (block.bit_length() - 1), limit))
