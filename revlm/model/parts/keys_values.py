"""Keys and values of every token, by slot; samples share those of the sequence they began with."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.heap import hold_in_huge_pages

# Of what is kept: room for so much more is made at once, so that a token costs a bounded number of copies.
_SLACK = 1 / 8
_LEAST_SLACK = 128


class KeysValues:
    """One record a slot, [heads, 2, head_dim]: the keys and the values of a token.

    Slots count from 1: the shared tokens of the one sequence first, then in turn one token of each sample. Slot 0
    stands for no token; its record is zero. A record takes `2 * d_model` numbers; room is kept for an eighth more.
    """

    def __init__(self, heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
        self._records = torch.zeros(1, heads, 2, head_dim, dtype=dtype, device=device)
        self.slots, self.shared, self.samples = 1, 0, 1

    @property
    def tokens(self) -> int:
        """The tokens of each sample."""
        return self.shared + (self.slots - 1 - self.shared) // self.samples

    @property
    def records(self) -> Float[Tensor, "slots heads two head_dim"]:
        """The records of all slots in use."""
        return self._records[: self.slots]

    @property
    def latest(self) -> Float[Tensor, "samples heads two head_dim"]:
        """The records of the latest token of each sample; there must be one."""
        return self._records[self.slots - self.samples : self.slots]

    @property
    def latest_slots(self) -> Int[Tensor, "samples"]:
        """The slots of the latest token of each sample."""
        return torch.arange(self.slots - self.samples, self.slots, dtype=torch.int32, device=self._records.device)

    def append(self, k: Float[Tensor, "heads new head_dim"], v: Float[Tensor, "heads new head_dim"]) -> None:
        """Keeps the next tokens of the one sequence, or the next token of each sample."""
        first = self.take(k.shape[1])
        records = self._records[first : self.slots]
        records[:, :, 0] = k.transpose(0, 1)
        records[:, :, 1] = v.transpose(0, 1)

    def take(self, new: int) -> int:
        """Takes slots for as many tokens as `append` would keep; returns the first. Their records are to be written."""
        self.reserve(new)
        first = self.slots
        self.slots += new
        if self.samples == 1:
            self.shared += new
        return first

    def gather(self, slots: Int[Tensor, "heads some"]) -> Float[Tensor, "heads some two head_dim"]:
        """Returns records of each head."""
        heads, _, head_dim = self._records.shape[1:]
        flat = slots * heads + torch.arange(heads, dtype=slots.dtype, device=slots.device)[:, None]
        found = self._records.view(-1, 2 * head_dim).index_select(0, flat.flatten())
        return found.view(*slots.shape, 2, head_dim)

    def reserve(self, tokens: int) -> None:
        """Makes room for so many more slots."""
        needed = self.slots + tokens
        if needed > self._records.shape[0]:
            room = needed + max(int(needed * _SLACK), _LEAST_SLACK)
            grown = hold_in_huge_pages(self._records.new_empty(room, *self._records.shape[1:]))
            grown[: self.slots] = self.records
            self._records = grown

    def fork(self, samples: int) -> None:
        """Gives each sample a record of its own of the latest token, which its next one may still change."""
        if samples == 1 or self.slots == 1:
            self.samples = samples
            return
        self.reserve(samples - 1)
        self._records[self.slots : self.slots + samples - 1] = self.latest
        self.slots += samples - 1
        self.shared, self.samples = self.shared - 1, samples

    def tensors(self) -> list[Tensor]:
        """Returns what holds the records, with the room for more."""
        return [self._records]
