"""Ring buffers of the last few tokens of each bucket, to which a hash layer attends."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Int
from torch import Tensor

from revlm.ops.heap import hold_in_huge_pages


class Rings:
    """The slots of the last `window` tokens of each sample, head, round and bucket: oldest first, 0 for none.

    `n_buckets` is the number of buckets of each round. The rings take `4 * heads * sum(n_buckets) * window` bytes per
    sample, whatever the length.
    """

    def __init__(self, heads: int, n_buckets: Sequence[int], window: int, device: torch.device) -> None:
        self.heads, self.window = heads, window
        *self._first_of_round, self._of_head = accumulate(n_buckets, initial=0)
        self._slots = hold_in_huge_pages(torch.zeros(heads * self._of_head, window, dtype=torch.int32, device=device))
        self._first_row = self._first_rows(1)

    @property
    def slots(self) -> Int[Tensor, "rings window"]:
        """All rings, ordered by sample, head, round and bucket, the last one fastest."""
        return self._slots

    def rows(self, bucket: Int[Tensor, "heads samples rounds"]) -> Int[Tensor, "heads samples rounds"]:
        """Returns the ring indices of buckets, for `of_rows` and `push`."""
        return bucket + self._first_row

    def of_rows(self, rows: Int[Tensor, "heads samples rounds"]) -> Int[Tensor, "heads samples rounds window"]:
        """Returns the slots in some rings."""
        return self._slots.index_select(0, rows.flatten()).view(*rows.shape, self.window)

    def push(self, rows: Int[Tensor, "heads samples rounds"], slots: Int[Tensor, "samples"]) -> None:
        """Pushes one token of each sample into its rings, which drop their oldest."""
        newest = slots[:, None].expand(rows.shape)[..., None]
        self._slots.index_copy_(0, rows.flatten(), torch.cat([self.of_rows(rows)[..., 1:], newest], -1).flatten(0, 2))

    def of_buckets(self, head: int, round_: int, buckets: Int[Tensor, "some"]) -> Int[Tensor, "some window"]:
        """Returns the slots in the rings of some buckets of the single sample."""
        return self._slots[head * self._of_head + self._first_of_round[round_] :].index_select(0, buckets)

    def push_run(self, bucket: Int[Tensor, "heads rounds tokens"], first_slot: int) -> None:
        """Pushes several tokens of the single sample, whose slots are consecutive."""
        place = torch.arange(self.window, device=bucket.device)
        for first_row, of_row in zip(self._first_rows(1).flatten().tolist(), bucket.flatten(0, 1), strict=True):
            ordered, token = torch.sort(of_row, stable=True)
            hit, members = torch.unique_consecutive(ordered, return_counts=True)
            rows, stops = hit.long() + first_row, members.cumsum(0)
            # Each entry's new value is `members` entries later: in the ring, or else among the new tokens.
            before = place + members[:, None]
            kept = self._slots.index_select(0, rows).gather(1, before.clamp(max=self.window - 1))
            new = token[(stops[:, None] - self.window + place).clamp_(min=0)] + first_slot
            self._slots.index_copy_(0, rows, torch.where(before < self.window, kept, new.int()))

    def fork(self, samples: int) -> None:
        """Copies the rings of the single sample for each of `samples`."""
        self._slots = self._slots.repeat(samples, 1)
        self._first_row = self._first_rows(samples)

    def tensors(self) -> list[Tensor]:
        """Returns the tensor of the rings."""
        return [self._slots]

    def _first_rows(self, samples: int) -> Int[Tensor, "heads samples rounds"]:
        of_head = torch.arange(samples * self.heads).view(samples, self.heads, 1).transpose(0, 1) * self._of_head
        return (of_head + torch.tensor(self._first_of_round)).to(self._slots.device)
