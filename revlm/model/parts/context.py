"""What the layers know of one pass besides the streams: documents, positions, rotations of the hashes."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class LayerStatistics:
    """How one hash layer was used in a forward pass; shares between 0 and 1."""

    bucket_fill: float
    empty_query_share: float
    sink_share: float


@dataclass(frozen=True)
class Context:
    """One pass over a sequence of documents that lie one behind the other and never meet.

    `document_ids` numbers the documents, the same number for each token of one and another for the next; `rotations`
    returns the random directions of a hash layer by its number, the same ones each time. Where `statistics` is a
    dictionary, hash layers leave theirs in it.
    """

    document_ids: Int[Tensor, "tokens"]
    rotations: Callable[[int], Float[Tensor, "heads rounds head_dim directions"]]
    statistics: dict[int, LayerStatistics] | None = None

    @cached_property
    def _starts(self) -> Int[Tensor, "documents"]:
        changes = self.document_ids[1:] != self.document_ids[:-1]
        return torch.nn.functional.pad(changes.nonzero()[:, 0] + 1, (1, 0))

    @cached_property
    def bounds(self) -> list[tuple[int, int]]:
        """Where each document starts and stops."""
        starts = self._starts.tolist()
        return list(zip(starts, [*starts[1:], self.document_ids.shape[0]], strict=True))

    def ends_within(self, span: slice) -> bool:
        """Returns whether the last token of some document lies in a span of positions."""
        return self._stops[bisect_right(self._stops, span.start)] <= span.stop

    @cached_property
    def _stops(self) -> list[int]:
        return [stop for _, stop in self.bounds]

    @cached_property
    def position(self) -> Int[Tensor, "tokens"]:
        """The place of each token in its own document, from 0."""
        device = self.document_ids.device
        lengths = torch.tensor([stop - start for start, stop in self.bounds], device=device)
        return torch.arange(len(self.document_ids), device=device) - self._starts.repeat_interleave(lengths)
