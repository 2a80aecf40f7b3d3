"""Fixed-point streams: float increments rounded to a grid, on which addition is exact and can be undone."""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import NonFiniteError
from revlm.ops.compiled import library
from revlm.ops.compiled.structures import Addition
from revlm.ops.triton import availability

if TYPE_CHECKING:
    from revlm.ops.triton.fixed_point import StreamKernel

# Half the range of int32: a stream and an increment below it can not wrap when they are added.
_LIMIT = 2**30
_COMPILED = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


class FixedPoint:
    """A grid of 2^-fraction_bits in int32, and a watch over what is added on it.

    The watch keeps, as tensors on the device, the largest magnitude of any increment and of any stream; a value that
    is not finite makes it not finite, since the conversion to integers would hide it.
    """

    def __init__(self, fraction_bits: int, device: torch.device) -> None:
        self.fraction_bits = fraction_bits
        self._largest_increment = torch.zeros((), dtype=torch.float64, device=device)
        self._largest_stream = torch.zeros((), dtype=torch.int64, device=device)
        self._compiled = device.type == "cpu" and library.builds()
        self._kernel: StreamKernel | None = None
        if availability.runs_on(device):
            from revlm.ops.triton import fixed_point

            self._kernel = fixed_point.StreamKernel(fraction_bits, device)

    def add_(self, stream: Int[Tensor, "*shape"], increment: Float[Tensor, "*shape"]) -> None:
        """Adds an increment, rounded to the grid, to a stream."""
        if self._in_one_pass(stream, increment, 1):
            return
        stream += self._on_grid(increment)
        smallest, largest = stream.aminmax()
        self._largest_stream = torch.maximum(self._largest_stream, torch.maximum(-smallest.long(), largest.long()))

    def subtract_(self, stream: Int[Tensor, "*shape"], increment: Float[Tensor, "*shape"]) -> None:
        """Undoes `add_` of the same increment, to the bit."""
        if not self._in_one_pass(stream, increment, -1):
            stream -= self._on_grid(increment)

    def to_float(self, stream: Int[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
        """Returns a stream as floating-point numbers."""
        if dtype == torch.float16:  # its range ends below what a stream of integers holds
            return stream.float().mul_(2.0**-self.fraction_bits).to(dtype)
        return stream.to(dtype).mul_(2.0**-self.fraction_bits)

    def poison(self) -> Float[Tensor, ""]:
        """Returns 0, or NaN once an increment was not finite: added to an output it makes the loss say so."""
        return self._watched()[0] * 0

    def is_finite(self) -> bool:
        """Returns whether every increment was finite."""
        return math.isfinite(float(self._watched()[0]))

    def largest(self) -> float:
        """Returns the largest magnitude that a stream has had."""
        return float(self._watched()[1]) * 2.0**-self.fraction_bits

    def check_range(self) -> None:
        """Stops where a stream has neared the range of the grid.

        Raises:
            NonFiniteError: naming the key of the recipe that gives more range.
        """
        largest = max(map(float, self._watched()))
        if _LIMIT <= largest < float("inf"):
            raise NonFiniteError(
                f"a residual stream reached {largest * 2.0**-self.fraction_bits:,.0f}, beyond the range of "
                f"{_LIMIT * 2.0**-self.fraction_bits:,.0f} that model.stream_fraction_bits: {self.fraction_bits} "
                "leaves: lower it by 2 or more, or lower optimizer.lr"
            )

    def _watched(self) -> tuple[Tensor, Tensor]:
        """Returns the largest magnitude of any increment, not finite once one was not, and of any stream."""
        if self._kernel is None:
            return self._largest_increment, self._largest_stream
        return (
            torch.maximum(self._largest_increment, self._kernel.largest_increment()),
            torch.maximum(self._largest_stream, self._kernel.largest_stream()),
        )

    def _in_one_pass(self, stream: Tensor, increment: Tensor, sign: int) -> bool:
        """Returns False, with nothing done, for what neither the kernel nor the compiled library is made for."""
        if self._kernel is not None and self._kernel.takes(stream, increment):
            self._kernel.add_(stream, increment.detach(), sign)
            return True
        if self._compiled and _can_be_compiled(stream, increment):
            tensors = stream, increment, self._largest_increment, self._largest_stream
            addresses = (tensor.data_ptr() for tensor in tensors)
            problem = Addition(stream.numel(), torch.get_num_threads(), *addresses, sign * 2.0**self.fraction_bits)
            library.call(f"add_to_stream_{_COMPILED[increment.dtype]}", problem, "a stream")
            return True
        return False

    def _on_grid(self, increment: Tensor) -> Tensor:
        in_full = increment.detach().to(torch.promote_types(increment.dtype, torch.float32))
        scaled = in_full * 2.0**self.fraction_bits
        smallest, largest = scaled.aminmax()
        self._largest_increment = torch.maximum(self._largest_increment, torch.maximum(-smallest, largest).double())
        return scaled.round_().to(torch.int32)


def _can_be_compiled(stream: Tensor, increment: Tensor) -> bool:
    fits = stream.shape == increment.shape and stream.is_contiguous() and increment.is_contiguous()
    return fits and increment.dtype in _COMPILED
