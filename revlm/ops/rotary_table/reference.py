"""The table of rotary embeddings with PyTorch's operations."""

import torch
from torch import Tensor


def table(position: Tensor, half: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns the cosines and the sines of positions, each [tokens, half]."""
    frequency = base ** (-torch.arange(half, device=position.device, dtype=torch.float64) / half)
    angle = position[:, None] * frequency
    return angle.cos().to(dtype), angle.sin().to(dtype)
