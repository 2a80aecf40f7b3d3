"""The table of rotary embeddings in one pass, for CUDA."""

import math
from typing import no_type_check

import torch
import triton.language as tl
from torch import Tensor

from revlm.ops.triton.availability import on_device
from revlm.ops.triton.launch import Launch, blocks, kernel

_BLOCK = 256


def takes(position: Tensor, dtype: torch.dtype) -> bool:
    """Returns whether the backend supports these positions."""
    return position.dtype == torch.int64 and position.is_contiguous() and dtype == torch.float32


def table(position: Tensor, half: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns the cosines and the sines of positions, each [tokens, half]."""
    cosine, sine = (torch.empty(len(position), half, dtype=dtype, device=position.device) for _ in range(2))
    if cosine.numel():
        with on_device(position.device):
            launch(position, cosine, sine, base).run()
    return cosine, sine


def launch(position: Tensor, cosine: Tensor, sine: Tensor, base: float) -> Launch:
    """Returns the launch that fills both tables."""
    arguments = {
        "position": position,
        "cosine": cosine,
        "sine": sine,
        "entries": cosine.numel(),
        "TURNS": 1 / (2 * math.pi),
        "OCTAVES": math.log2(base) / cosine.shape[1],
        "HALF": cosine.shape[1],
        "BLOCK": _BLOCK,
    }
    return Launch(_table, (blocks(cosine.numel(), _BLOCK),), arguments, {"num_warps": 4})


@kernel
@no_type_check
def _table(
    position,
    cosine,
    sine,
    entries,
    TURNS: tl.constexpr,
    OCTAVES: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Fills a block of both tables; whole turns are removed in float64, so that float32 is left for the rest."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < entries
    turns_of_one = tl.exp2((at % HALF).to(tl.float64) * -OCTAVES) * TURNS
    turns = tl.load(position + at // HALF, mask=inside, other=0).to(tl.float64) * turns_of_one
    angle = ((turns - tl.floor(turns + 0.5)) * 6.283185307179586).to(tl.float32)
    tl.store(cosine + at, tl.cos(angle), mask=inside)
    tl.store(sine + at, tl.sin(angle), mask=inside)
