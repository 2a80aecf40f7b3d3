"""The update of a fixed-point stream in one pass: rounding, addition, and tracking of the largest magnitudes."""

from typing import no_type_check

import torch
import triton.language as tl
from torch import Tensor

from revlm.ops.fixed_point import reference
from revlm.ops.triton.availability import on_device
from revlm.ops.triton.launch import Launch, kernel

_BLOCK = 1024
_PROGRAMS = 2048


class Streams(reference.Streams):
    """`reference.Streams` in Triton; each program stores the extremes that it has seen in its own slot.

    Kernels on one device run in sequence, and only one program writes a slot, so no atomics are needed.
    """

    def __init__(self, fraction_bits: int, device: torch.device) -> None:
        self._fraction_bits = fraction_bits
        self._increment = torch.zeros(_PROGRAMS, dtype=torch.float32, device=device)
        self._smallest = torch.zeros(_PROGRAMS, dtype=torch.int32, device=device)
        self._largest = torch.zeros(_PROGRAMS, dtype=torch.int32, device=device)

    def takes(self, stream: Tensor, increment: Tensor) -> bool:
        """Returns whether the backend supports these tensors."""
        return (
            stream.is_contiguous()
            and increment.is_contiguous()
            and stream.shape == increment.shape
            and increment.dtype in (torch.float32, torch.bfloat16)
        )

    def add_(self, stream: Tensor, increment: Tensor, sign: int) -> None:
        """Adds an increment, rounded to the grid, `sign` times (1 or -1)."""
        if stream.numel():
            with on_device(stream.device):
                self.launch(stream, increment, sign).run()

    def launch(self, stream: Tensor, increment: Tensor, sign: int) -> Launch:
        """Returns the launch of the kernel."""
        arguments = {
            "stream": stream,
            "increment": increment,
            "largest_increment": self._increment,
            "smallest": self._smallest,
            "largest": self._largest,
            "elements": stream.numel(),
            "grid_points": 2.0**self._fraction_bits,
            "SIGN": sign,
            "BLOCK": _BLOCK,
        }
        programs = min(_PROGRAMS, -(-stream.numel() // _BLOCK))
        return Launch(_add, (programs,), arguments, {"num_warps": 4})

    def watched(self) -> tuple[Tensor, Tensor]:
        """Returns the largest magnitude of any increment, infinite once one was not finite, and of any stream."""
        stream = torch.maximum(-self._smallest.min().long(), self._largest.max().long())
        return self._increment.max().double(), stream


@kernel
@no_type_check
def _add(
    stream,
    increment,
    largest_increment,
    smallest,
    largest,
    elements,
    grid_points,
    SIGN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Processes every num_programs-th block of a stream."""
    program = tl.program_id(0)
    of_increment = tl.zeros([BLOCK], tl.float32)
    low = tl.zeros([BLOCK], tl.int32)
    high = tl.zeros([BLOCK], tl.int32)
    step = tl.num_programs(0).to(tl.int64) * BLOCK
    for start in range(program.to(tl.int64) * BLOCK, elements, step):
        at = start + tl.arange(0, BLOCK)
        inside = at < elements
        scaled = tl.load(increment + at, mask=inside, other=0.0).to(tl.float32) * grid_points
        magnitude = tl.abs(scaled)
        of_increment = tl.maximum(of_increment, tl.where(magnitude < float("inf"), magnitude, float("inf")))
        below = tl.floor(scaled)
        rest = scaled - below
        half = below * 0.5
        is_odd = half != tl.floor(half)
        up = (rest > 0.5) | ((rest == 0.5) & is_odd)
        rounded = tl.where(up, below + 1.0, below).to(tl.int32)
        summed = tl.load(stream + at, mask=inside, other=0) + SIGN * rounded
        tl.store(stream + at, summed, mask=inside)
        low = tl.minimum(low, summed)
        high = tl.maximum(high, summed)
    tl.store(largest_increment + program, tl.maximum(tl.load(largest_increment + program), tl.max(of_increment, 0)))
    tl.store(smallest + program, tl.minimum(tl.load(smallest + program), tl.min(low, 0)))
    tl.store(largest + program, tl.maximum(tl.load(largest + program), tl.max(high, 0)))
