"""What an attention sublayer keeps of the tokens so far."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.model.parts.heads import Rotary


class Cache(ABC):
    """Goes on with one sequence: with runs of tokens (`read` each tile, then `mix`), or one at a time (`step`).

    After `fork` there are several samples, each of them the sequence so far and then its own tokens; they go on
    together, with `step`.

    Attributes:
        latest_bucket: the buckets of the latest token of each sample; None before one, and for kinds that do not hash.
    """

    latest_bucket: Int[Tensor, "heads samples rounds"] | None = None

    @abstractmethod
    def reserve(self, tokens: int) -> None:
        """Makes room for so many more tokens at once, where that spares copies."""

    @abstractmethod
    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Takes in a tile of the stream, the next tokens of the sequence."""

    @abstractmethod
    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output of all tokens that were read since the last call."""

    @abstractmethod
    def step(self, x: Float[Tensor, "samples d_model"], rotary: Rotary) -> Float[Tensor, "heads samples head_dim"]:
        """Takes in the next token of each sample; returns the attention's output."""

    @abstractmethod
    def fork(self, samples: int) -> None:
        """Lets so many samples go on from here. There must have been one."""

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """Returns all that is kept."""

    @property
    def bytes(self) -> int:
        """The memory of all that is kept."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())


def joined(tiles: list[Tensor]) -> Float[Tensor, "heads tokens head_dim"]:
    """Returns tiles of tokens as one tensor."""
    return tiles[0] if len(tiles) == 1 else torch.cat(tiles, dim=1)
