"""The model and the example that every system receives."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

# The frequency of the token at rank r is proportional to 1 / (r + this), about as in text.
_RANK_OFFSET = 2.7


@dataclass(frozen=True)
class Shape:
    """The sizes of an example and of the model; `window` is what others call the chunk or bucket size.

    The documents of an example are equally long, or nearly so.
    """

    tokens: int
    layers: int = 6
    d_model: int = 256
    heads: int = 4
    d_ff: int = 1024
    vocabulary: int = 2048
    rounds: int = 4
    window: int = 64
    documents: int = 1

    @property
    def document_tokens(self) -> list[int]:
        """The tokens of each document."""
        bounds = [document * self.tokens // self.documents for document in range(self.documents + 1)]
        return [stop - start for start, stop in pairwise(bounds)]

    def document_ids(self, device: torch.device) -> Tensor:
        """Returns the number of each token's document, [tokens]."""
        numbers, lengths = torch.arange(self.documents), torch.tensor(self.document_tokens)
        return numbers.repeat_interleave(lengths).to(device)

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
