"""How many queries and keys a program works on, chosen so that next to no register is spilled on sm_80 and sm_90.

`scripts/compile_kernels.py` shows what each choice takes. Which is the fastest only a card can tell.
"""

from typing import NamedTuple

import torch

_SMALLEST = 16  # a matrix product takes no fewer


class Tiling(NamedTuple):
    """The block of queries and of keys of a kernel, and Triton's options for it."""

    queries: int
    keys: int
    options: dict[str, int]


def forward_tiling(head_dim: int, dtype: torch.dtype, block: int) -> Tiling:
    """Returns the tiling of the forward kernel; `block` asks for a number of queries."""
    queries, keys, stages = _FORWARD[_kind(head_dim, dtype)]
    return Tiling(_at_most(block, queries), keys, {"num_warps": 4, "num_stages": stages})


def query_tiling(head_dim: int, dtype: torch.dtype, block: int) -> Tiling:
    """Returns the tiling of the kernel of the queries' gradients."""
    queries, keys, stages = _QUERY_GRADIENTS[_kind(head_dim, dtype)]
    return Tiling(_at_most(block, queries), keys, {"num_warps": 4, "num_stages": stages})


def key_tiling(head_dim: int, dtype: torch.dtype, block: int) -> Tiling:
    """Returns the tiling of the kernel of the gradients of keys and values."""
    queries, keys, stages = _KEY_GRADIENTS[_kind(head_dim, dtype)]
    return Tiling(_at_most(block, queries), keys, {"num_warps": 4, "num_stages": stages})


# By (half precision, wide heads): queries at most, keys, and the stages of loads that go ahead of the products.
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
    (True, False): (32, 64, 1),
    (True, True): (32, 32, 1),
    (False, False): (16, 32, 1),
    (False, True): (16, 16, 1),
}


def _kind(head_dim: int, dtype: torch.dtype) -> tuple[bool, bool]:
    return dtype.itemsize == 2, head_dim > 64


def _at_most(block: int, limit: int) -> int:
    """Returns the power of two that is nearest below what is asked for."""
    return max(_SMALLEST, min(1 << (block.bit_length() - 1), limit))
