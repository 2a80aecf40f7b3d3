"""Dropout whose random numbers depend on a token's position, not on how tokens are tiled or shared out over ranks."""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

BLOCK = 1024
"""Consecutive positions whose numbers are drawn together, from a generator of their own."""


def seed_of(*numbers: int) -> int:
    """Returns a seed that depends on all of these numbers."""
    digest = hashlib.blake2b(" ".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


@dataclass(frozen=True)
class Draw:
    """The random numbers of one sublayer in one pass, for consecutive tokens of which the `first` is a position."""

    seed: int
    sublayer: int
    first: int

    def kept(self, rate: float, like: Float[Tensor, "tile d_model"]) -> Bool[Tensor, "tile d_model"]:
        """Returns whether each number of a tile stays, with probability 1 - rate."""
        kept = torch.empty(like.shape, dtype=torch.bool, device=like.device)
        position, stop = self.first, self.first + len(like)
        while position < stop:
            block, skipped = divmod(position, BLOCK)
            some = min(BLOCK - skipped, stop - position)
            generator = torch.Generator(like.device).manual_seed(seed_of(self.seed, self.sublayer, block))
            # Drawn from the block's beginning: where a tile begins must not matter.
            drawn = torch.empty(skipped + some, *like.shape[1:], dtype=torch.bool, device=like.device)
            drawn.bernoulli_(1 - rate, generator=generator)
            kept[position - self.first :][:some] = drawn[skipped:]
            position += some
        return kept


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al., 2014) with the numbers of a `Draw`; without one, the identity."""

    def forward(self, x: Float[Tensor, "tile d_model"], draw: Draw | None = None) -> Float[Tensor, "tile d_model"]:
        """Returns a tile with some numbers zeroed and the others scaled by 1 / (1 - p), in training."""
        if draw is None or not self.training or self.p == 0:
            return x
        return x * draw.kept(self.p, x) * (1 / (1 - self.p))
