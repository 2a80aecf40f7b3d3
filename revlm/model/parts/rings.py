"""Ring buffers of the last few tokens of each bucket, to which a hash layer attends."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Int
from torch import Tensor

from revlm.model.parts.growth import with_room


class Rings:
    """The slots of the last `window` tokens of each sample, head, round and bucket: oldest first, 0 for none.

    A bucket gets its ring with its first token, so memory follows the text: at most
    `4 * heads * sum(n_buckets) * (window + 1)` bytes per sample, and an eighth more is allocated. `n_buckets` is the
    number of buckets of each round.

    Attributes:
        slots: the slots in each ring, int32 [rings, window], with room for rings that are not made yet.
        ring_of: the ring of each bucket, int32, ordered by sample, head, round and bucket, the last one fastest; 0, the
            ring that stays empty, where a bucket has none.
        made: the number of rings in use.
    """

    def __init__(self, heads: int, n_buckets: Sequence[int], window: int, device: torch.device) -> None:
        self.heads, self.window = heads, window
        *self._first_of_round, self._of_head = accumulate(n_buckets, initial=0)
        self.ring_of = torch.zeros(heads * self._of_head, dtype=torch.int32, device=device)
        self.slots, self.made = torch.zeros(1, window, dtype=torch.int32, device=device), 1
        self._first_row = self._first_rows(1)

    def of_buckets(self, bucket: Int[Tensor, "heads samples rounds"]) -> Int[Tensor, "heads samples rounds window"]:
        """Returns the slots in the rings of one token's buckets of each sample."""
        return self.slots[self.ring_of[bucket + self._first_row]]

    def of_round(self, head: int, round_: int, buckets: Int[Tensor, "some"]) -> Int[Tensor, "some window"]:
        """Returns the slots in the rings of some buckets of the single sample."""
        return self.slots[self.ring_of[head * self._of_head + self._first_of_round[round_] + buckets]]

    def reserve(self) -> None:
        """Allocates memory for the rings that a token of each sample may make."""
        self.slots = with_room(self.slots, self.made, self._first_row.numel())

    def push(self, bucket: Int[Tensor, "heads samples rounds"], slots: Int[Tensor, "samples"]) -> None:
        """Pushes one token of each sample into its rings, which drop their oldest."""
        rows = bucket + self._first_row
        rings = self._rings(rows.flatten()).view_as(rows)
        newest = slots[:, None].expand(rings.shape)[..., None]
        self.slots[rings] = torch.cat([self.slots[rings][..., 1:], newest], -1)

    def push_run(self, bucket: Int[Tensor, "heads rounds tokens"], first_slot: int) -> None:
        """Pushes several tokens of the single sample, whose slots are consecutive."""
        place = torch.arange(self.window, device=bucket.device)
        for first_row, of_row in zip(self._first_rows(1).flatten().tolist(), bucket.flatten(0, 1), strict=True):
            ordered, token = torch.sort(of_row, stable=True)
            hit, members = torch.unique_consecutive(ordered, return_counts=True)
            rings, stops = self._rings(hit.long() + first_row), members.cumsum(0)
            # Each entry's new value is `members` entries later: in the ring, or else among the new tokens.
            before = place + members[:, None]
            kept = self.slots[rings].gather(1, before.clamp(max=self.window - 1))
            new = token[(stops[:, None] - self.window + place).clamp_(min=0)] + first_slot
            self.slots[rings] = torch.where(before < self.window, kept, new.int())

    def fork(self, samples: int) -> None:
        """Copies the rings of the single sample for each of `samples`."""
        of_sample = self.made - 1
        shifts = of_sample * torch.arange(samples, dtype=torch.int32, device=self.ring_of.device)[:, None]
        self.ring_of = torch.where(self.ring_of > 0, self.ring_of + shifts, 0).flatten()
        self.slots = torch.cat([self.slots[:1], self.slots[1 : self.made].repeat(samples, 1)])
        self.made = 1 + of_sample * samples
        self._first_row = self._first_rows(samples)

    def tensors(self) -> list[Tensor]:
        """Returns the tensors of the rings and of their numbers, including unused memory."""
        return [self.slots, self.ring_of]

    def _rings(self, rows: Int[Tensor, "some"]) -> Int[Tensor, "some"]:
        """Returns the rings of different buckets, given their places in `ring_of`; makes those that are missing."""
        rings = self.ring_of[rows]
        new = rows[rings == 0]
        if len(new):
            self.slots = with_room(self.slots, self.made, len(new))
            self.slots[self.made : self.made + len(new)] = 0
            self.ring_of[new] = torch.arange(self.made, self.made + len(new), device=new.device).int()
            self.made += len(new)
            rings = self.ring_of[rows]
        return rings

    def _first_rows(self, samples: int) -> Int[Tensor, "heads samples rounds"]:
        of_head = torch.arange(samples * self.heads).view(samples, self.heads, 1).transpose(0, 1) * self._of_head
        return (of_head + torch.tensor(self._first_of_round)).to(self.ring_of.device)
