"""The update of a fixed-point stream with PyTorch's operations."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Streams:
    """Adds increments to streams, and tracks the largest magnitudes in grid steps."""

    def __init__(self, fraction_bits: int, device: torch.device) -> None:
        self._fraction_bits = fraction_bits
        self._increment = torch.zeros((), dtype=torch.float64, device=device)
        self._stream = torch.zeros((), dtype=torch.int64, device=device)

    def takes(self, stream: Tensor, increment: Tensor) -> bool:
        """Returns whether the backend supports these tensors."""
        return True

    def add_(self, stream: Int[Tensor, "*shape"], increment: Float[Tensor, "*shape"], sign: int) -> None:
        """Adds an increment, rounded to the grid, `sign` times (1 or -1)."""
        in_full = increment.to(torch.promote_types(increment.dtype, torch.float32))
        scaled = in_full * 2.0**self._fraction_bits
        smallest, largest = scaled.aminmax()
        self._increment = torch.maximum(self._increment, torch.maximum(-smallest, largest).double())
        stream.add_(scaled.round_().to(torch.int32), alpha=sign)
        if sign > 0:  # subtracting restores an earlier value
            lowest, highest = (end.long() for end in stream.aminmax())
            self._stream = torch.maximum(self._stream, torch.maximum(-lowest, highest))

    def to_float(self, stream: Int[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
        """Returns a stream as floating-point numbers."""
        if dtype == torch.float16:  # the integers may exceed float16's range
            return stream.float().mul_(2.0**-self._fraction_bits).to(dtype)
        return stream.to(dtype).mul_(2.0**-self._fraction_bits)

    def watched(self) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        """Returns the largest magnitude of any increment, not finite once one was not, and of any stream."""
        return self._increment, self._stream
