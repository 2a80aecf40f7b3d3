"""A kernel launch as a value: it can be run, or compiled ahead of time for another GPU."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

SUM_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}
"""Triton's dtype for each dtype of sums."""


class Launch(NamedTuple):
    """A kernel, its grid and its arguments; `options` are Triton's, such as `num_warps`."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]

    def run(self) -> None:
        """Queues the kernel on the current device."""
        self.kernel[self.grid](**self.arguments, **self.options)


def blocks(size: int, block: int) -> int:
    """Returns how many blocks of size `block` cover `size`."""
    return -(-size // block)


def padded(width: int) -> int:
    """Returns the power of two, at least 16, to which a vector is padded for `tl.dot`."""
    return max(16, triton.next_power_of_2(width))
