"""The interface of an attention sublayer's decoding cache."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.model.parts.heads import Rotary


class Cache(ABC):
    """Extends one sequence by several tokens (`read` each tile, then `mix`), or by one token (`step`).

    After `fork` there are several samples, each the sequence so far followed by tokens of its own; `step` extends all
    of them.

    Attributes:
        latest_bucket: the buckets of each sample's latest token; None before the first, and for kinds without hashes.
    """

    latest_bucket: Int[Tensor, "heads samples rounds"] | None = None

    @abstractmethod
    def reserve(self, tokens: int) -> None:
        """Allocates memory for `tokens` more tokens at once, where that saves copies."""

    @abstractmethod
    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Adds a tile of the stream, the next tokens of the sequence."""

    @abstractmethod
    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output for all tokens read since the last call."""

    @abstractmethod
    def step(self, x: Float[Tensor, "samples d_model"], rotary: Rotary) -> Float[Tensor, "heads samples head_dim"]:
        """Adds the next token of each sample; returns the attention's output."""

    @abstractmethod
    def fork(self, samples: int) -> None:
        """Forks the single sequence into `samples` samples."""

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """Returns the tensors of the cache."""

    @property
    def bytes(self) -> int:
        """The size of the cache in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())


def joined(tiles: list[Tensor]) -> Float[Tensor, "heads tokens head_dim"]:
    """Returns tiles concatenated along the tokens."""
    return tiles[0] if len(tiles) == 1 else torch.cat(tiles, dim=1)
