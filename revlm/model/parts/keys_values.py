"""The cached keys and values of every token, by slot; samples share those from before the fork."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.model.parts.growth import with_room


class KeysValues:
    """One record per slot, [heads, 2, head_dim]: the keys and values of a token.

    Slots start at 1: first the shared tokens, then one token of each sample in turn. Slot 0 means no token; its record
    is zero. A record has `2 * d_model` numbers; memory is allocated for an eighth more records.
    """

    def __init__(self, heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
        self._records = torch.zeros(1, heads, 2, head_dim, dtype=dtype, device=device)
        self.slots, self.shared, self.samples = 1, 0, 1

    @property
    def tokens(self) -> int:
        """The number of tokens of each sample."""
        return self.shared + (self.slots - 1 - self.shared) // self.samples

    @property
    def records(self) -> Float[Tensor, "slots heads two head_dim"]:
        """The records of all slots in use."""
        return self._records[: self.slots]

    @property
    def latest(self) -> Float[Tensor, "samples heads two head_dim"]:
        """The record of each sample's latest token; requires at least one token."""
        return self._records[self.slots - self.samples : self.slots]

    @property
    def latest_slots(self) -> Int[Tensor, "samples"]:
        """The slot of each sample's latest token."""
        return torch.arange(self.slots - self.samples, self.slots, dtype=torch.int32, device=self._records.device)

    def split(
        self,
    ) -> tuple[Float[Tensor, "shared heads two head_dim"], Float[Tensor, "own samples heads two head_dim"]]:
        """Returns the records that all samples share, and those of each sample."""
        first_own = 1 + self.shared
        return self._records[1:first_own], self.records[first_own:].unflatten(0, (-1, self.samples))

    def append(self, k: Float[Tensor, "heads new head_dim"], v: Float[Tensor, "heads new head_dim"]) -> None:
        """Stores the next tokens of the single sequence, or the next token of each sample."""
        first = self.allocate(k.shape[1])
        records = self._records[first : self.slots]
        records[:, :, 0] = k.transpose(0, 1)
        records[:, :, 1] = v.transpose(0, 1)

    def allocate(self, new: int) -> int:
        """Allocates slots for `new` tokens and returns the first; the caller writes their records."""
        self.reserve(new)
        first = self.slots
        self.slots += new
        if self.samples == 1:
            self.shared += new
        return first

    def gather(self, slots: Int[Tensor, "heads some"]) -> Float[Tensor, "heads some two head_dim"]:
        """Returns the records of each head's slots."""
        heads, _, head_dim = self._records.shape[1:]
        flat = slots * heads + torch.arange(heads, dtype=slots.dtype, device=slots.device)[:, None]
        found = self._records.view(-1, 2 * head_dim).index_select(0, flat.flatten())
        return found.view(*slots.shape, 2, head_dim)

    def reserve(self, tokens: int) -> None:
        """Allocates memory for `tokens` more slots."""
        self._records = with_room(self._records, self.slots, tokens)

    def fork(self, samples: int) -> None:
        """Copies the record of the latest token for each sample, since the next token may still change it."""
        if samples == 1 or self.slots == 1:
            self.samples = samples
            return
        self.reserve(samples - 1)
        self._records[self.slots : self.slots + samples - 1] = self.latest
        self.slots += samples - 1
        self.shared, self.samples = self.shared - 1, samples

    def tensors(self) -> list[Tensor]:
        """Returns the tensor that holds the records, including unused memory."""
        return [self._records]
