"""A kernel launch as a value: it can be run, or compiled ahead of time for another GPU."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from revlm.ops.triton.tuning import tuned

SUM_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}
"""Triton's dtype for each dtype of sums."""


# What depends on the number of tokens, as do the heads that attention takes at a time: a kernel compiled for one
# example serves all others. Strides and numbers of elements stay specialized, without which loads are not of
# whole vectors; they are multiples of widths.
_COUNTS = {
    "tokens",
    "queries",
    "vectors",
    "heads",
    "entries",
    "rounds",
    "all_rounds",
    "row_rounds",
    "delta_row",
    "reach",
    "steps",
}
_READ_ONE_BY_ONE = {
    *("scale", "sink", "log_sum_exp", "delta", "d_scale", "position"),
    *("is_first", "predecessor_weight"),
    *("bucket", "sorted_bucket", "sorted_token", "token", "place", "first", "last"),
}


def kernel(function: Callable[..., None]) -> Any:
    """Compiles a kernel whose variants do not depend on the number of tokens or of documents."""
    parameters = inspect.signature(function).parameters
    return triton.jit(
        function,
        do_not_specialize=[name for name in parameters if name in _COUNTS],
        do_not_specialize_on_alignment=[name for name in parameters if name in _READ_ONE_BY_ONE],
    )


class Launch(NamedTuple):
    """A kernel, its grid and its arguments; `options` are Triton's, such as `num_warps`.

    Where it `is_tuned`, the stages among them are replaced by those that `revlm.ops.triton.tuning` chose.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]
    is_tuned: bool = False

    def run(self) -> None:
        """Queues the kernel on the current device."""
        options = tuned(self) if self.is_tuned else self.options
        self.kernel[self.grid](**self.arguments, **options)

    def specialized(self) -> tuple[object, ...]:
        """Returns what Triton compiles a variant of the kernel for: constants, types, and multiples of 16."""
        found: list[object] = [self.kernel.fn.__name__, *sorted(self.options.items())]
        for name, parameter in inspect.signature(self.kernel.fn).parameters.items():
            value = self.arguments[name]
            if parameter.annotation is tl.constexpr or value is None:
                found.append(value)
            elif isinstance(value, torch.Tensor):
                found.append((value.dtype, name in _READ_ONE_BY_ONE or value.data_ptr() % 16 == 0))
            elif isinstance(value, int):
                is_long = not -(2**31) <= value < 2**31
                found.append((is_long, name in _COUNTS or (value == 1, value % 16 == 0)))
        return tuple(found)


def blocks(size: int, block: int) -> int:
    """Returns how many blocks of size `block` cover `size`."""
    return -(-size // block)


def padded(width: int) -> int:
    """Returns the power of two, at least 16, to which a vector is padded for `tl.dot`."""
    return max(16, triton.next_power_of_2(width))
