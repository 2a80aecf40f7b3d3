"""A call of a kernel as a value: it can be run, or compiled ahead of time for a card that is not there."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

SUM_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}
"""Triton's word for the dtype of sums."""


class Launch(NamedTuple):
    """A kernel, its programs along each axis, and its arguments; `options` are Triton's own, such as `num_warps`."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]

    def run(self) -> None:
        """Queues the kernel on the current device."""
        self.kernel[self.grid](**self.arguments, **self.options)


def blocks(size: int, block: int) -> int:
    """Returns how many blocks cover a size."""
    return -(-size // block)


def padded(width: int) -> int:
    """Returns the power of two, at least 16, up to which a vector is filled: what a matrix product can take."""
    return max(16, triton.next_power_of_2(width))
