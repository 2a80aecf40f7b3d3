"""The model and the example that every system receives."""

from dataclasses import dataclass

import torch
from torch import Tensor

# The frequency of the token at rank r is proportional to 1 / (r + this), about as in text.
_RANK_OFFSET = 2.7


@dataclass(frozen=True)
class Shape:
    """The sizes of an example and of the model; `window` is what others call the chunk or bucket size."""

    tokens: int
    layers: int = 6
    d_model: int = 256
    heads: int = 4
    d_ff: int = 1024
    vocabulary: int = 2048
    rounds: int = 4
    window: int = 64

    @property
    def head_dim(self) -> int:
        """The width of one head."""
        return self.d_model // self.heads


def random_example(shape: Shape, seed: int) -> tuple[Tensor, Tensor]:
    """Returns seeded inputs and targets, each [tokens], with the token frequencies of text (Zipf and Mandelbrot).

    Uniform tokens would fill the buckets of a hash more evenly than text does.
    """
    frequency = 1 / (torch.arange(shape.vocabulary, dtype=torch.float64) + _RANK_OFFSET)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.multinomial(frequency, shape.tokens + 1, replacement=True, generator=generator)
    return tokens[:-1], tokens[1:]
