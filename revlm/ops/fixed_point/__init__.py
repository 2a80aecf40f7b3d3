"""Fixed-point streams: float increments rounded to a grid, on which addition is exact and reversible.

A backend is a class `Streams(fraction_bits, device)`, which adds increments (`add_`) that it `takes`, and tracks the
largest magnitudes.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.errors import NonFiniteError
from revlm.ops import backends
from revlm.ops.fixed_point import reference

__all__ = ["FixedPoint", "StreamRange", "StreamTile"]

# Half the range of int32: the sum of a stream and an increment below it does not overflow.
_LIMIT = 2**30


class StreamRange(NamedTuple):
    """The largest magnitude of any increment, not finite once one was not, and of any stream."""

    largest_increment: float
    largest: float

    @property
    def is_finite(self) -> bool:
        """Whether every increment was finite."""
        return math.isfinite(self.largest_increment)


class FixedPoint:
    """An int32 grid with steps of 2^-fraction_bits, which tracks the range of the streams on it.

    It keeps, as tensors on the device, the largest magnitude of any increment and of any stream. An increment that is
    not finite makes it not finite, since the conversion to integers would hide it.
    """

    def __init__(self, fraction_bits: int, device: torch.device) -> None:
        self.fraction_bits = fraction_bits
        self._plain = reference.Streams(fraction_bits, device)
        module = backends.implementation(__name__, device)
        self._quick = self._plain if module is reference else module.Streams(fraction_bits, device)

    def add_(self, stream: Int[Tensor, "*shape"], increment: Float[Tensor, "*shape"]) -> None:
        """Adds an increment, rounded to the grid, to a stream."""
        self._backend(stream, increment).add_(stream, increment.detach(), 1)

    def subtract_(self, stream: Int[Tensor, "*shape"], increment: Float[Tensor, "*shape"]) -> None:
        """Undoes `add_` of the same increment, to the bit."""
        self._backend(stream, increment).add_(stream, increment.detach(), -1)

    def to_float(self, stream: Int[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
        """Returns a stream as floating-point numbers."""
        return self._quick.to_float(stream, dtype)

    def tile(
        self, numbers: Int[Tensor, "tile d_model"], dtype: torch.dtype, *, differentiable: bool = False
    ) -> "StreamTile":
        """Returns some tokens of a stream as the input of a layer; `dtype` is that of their values."""
        return StreamTile(self, numbers, dtype, differentiable=differentiable)

    @staticmethod
    def checksum(stream: Int[Tensor, "*shape"]) -> Int[Tensor, ""]:
        """Returns a 64-bit sum that a change of any one number of a contiguous stream changes, in one pass over it."""
        numbers = stream.view(-1)
        pairs = numbers[: numbers.numel() // 2 * 2].view(torch.int64)
        return pairs.sum() + numbers[2 * pairs.numel() :].sum()

    def poison(self) -> Float[Tensor, ""]:
        """Returns 0, or NaN once an increment was not finite; adding it to an output makes the loss NaN."""
        return self._watched()[0] * 0

    def is_finite(self) -> bool:
        """Returns whether every increment was finite."""
        return self._read().is_finite

    def largest(self) -> float:
        """Returns the largest magnitude that a stream has had."""
        return self._read().largest

    def check_range(self) -> StreamRange:
        """Returns the range of the streams, after checking that none has neared that of the grid.

        Raises:
            NonFiniteError: one has; the message names the recipe key that gives more range.
        """
        found = self._read()
        largest = max(found.largest_increment, found.largest)
        if _LIMIT * 2.0**-self.fraction_bits <= largest < float("inf"):
            raise NonFiniteError(
                f"a residual stream reached {largest:,.0f}, beyond the range of "
                f"{_LIMIT * 2.0**-self.fraction_bits:,.0f} that model.stream_fraction_bits: {self.fraction_bits} "
                "leaves: lower it by 2 or more, or lower optimizer.lr"
            )
        return found

    def _read(self) -> StreamRange:
        """Reads the range from the device, at once."""
        numbers: list[float] = torch.stack([each.double() for each in self._watched()]).tolist()
        return StreamRange(*(number * 2.0**-self.fraction_bits for number in numbers))

    def _backend(self, stream: Tensor, increment: Tensor) -> reference.Streams:
        return self._quick if self._quick.takes(stream, increment) else self._plain

    def _watched(self) -> tuple[Tensor, Tensor]:
        """Returns the largest magnitude of any increment, not finite once one was not, and of any stream."""
        if self._quick is self._plain:
            return self._plain.watched()
        pairs = zip(self._plain.watched(), self._quick.watched(), strict=True)
        increment, stream = (torch.maximum(*pair) for pair in pairs)
        return increment, stream


class StreamTile:
    """Some tokens of a stream as the input of a layer; norms read the integers and convert them on the way.

    Attributes:
        numbers: the integers [tile, d_model], in steps of `step`.
        dtype: the dtype of the values.
        leaf: stands for the values in a graph, whose gradient is that of the values; it takes no memory.
        gradient: the tensor to which a norm adds the gradient of the values, which the leaf then lacks; None: nowhere.
    """

    def __init__(
        self, fixed: FixedPoint, numbers: Int[Tensor, "tile d_model"], dtype: torch.dtype, *, differentiable: bool
    ) -> None:
        self._fixed, self.numbers, self.dtype = fixed, numbers, dtype
        self.step = 2.0**-fixed.fraction_bits
        self.leaf = numbers.new_empty((), dtype=dtype).expand(numbers.shape).requires_grad_(differentiable)
        self.gradient: Float[Tensor, "tile d_model"] | None = None

    def __len__(self) -> int:
        """Returns the number of tokens."""
        return len(self.numbers)

    @property
    def device(self) -> torch.device:
        """The device of the numbers."""
        return self.numbers.device

    def values(self) -> Float[Tensor, "tile d_model"]:
        """Returns the values as a tensor, outside of any graph."""
        return self._fixed.to_float(self.numbers, self.dtype)

    def to_float(self) -> Float[Tensor, "tile d_model"]:
        """Returns the values as a tensor in the graph, for a layer other than a norm."""
        return _Values.apply(self.leaf, self)


class _Values(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, leaf: Tensor, tile: StreamTile) -> Tensor:
        return tile.values()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_values: Tensor) -> tuple[Tensor, None]:
        return d_values, None
