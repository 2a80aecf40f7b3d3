"""The update of a fixed-point stream in one pass, compiled for the machine's CPU."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import Addition, Conversion
from revlm.ops.fixed_point import reference

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


class Streams(reference.Streams):
    """The compiled `reference.Streams`."""

    def takes(self, stream: Tensor, increment: Tensor) -> bool:
        """Returns whether the backend supports these tensors."""
        fits = stream.shape == increment.shape and stream.is_contiguous() and increment.is_contiguous()
        return fits and increment.dtype in _NAMES

    def add_(self, stream: Int[Tensor, "*shape"], increment: Float[Tensor, "*shape"], sign: int) -> None:
        """Adds an increment, rounded to the grid, `sign` times (1 or -1)."""
        tensors = stream, increment, self._increment, self._stream
        addresses = (tensor.data_ptr() for tensor in tensors)
        problem = Addition(stream.numel(), torch.get_num_threads(), *addresses, sign * 2.0**self._fraction_bits)
        library.call(f"add_to_stream_{_NAMES[increment.dtype]}", problem, "a stream")

    def to_float(self, stream: Int[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
        """Returns a stream as floating-point numbers."""
        if dtype != torch.float32 or not stream.is_contiguous():
            return super().to_float(stream, dtype)
        out = torch.empty_like(stream, dtype=dtype)
        addresses = stream.data_ptr(), out.data_ptr()
        problem = Conversion(stream.numel(), torch.get_num_threads(), *addresses, 2.0**-self._fraction_bits)
        library.call("stream_as_float32", problem, "a stream")
        return out
