"""What layers know about a pass besides the streams: documents, positions, rotations of the hashes."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class LayerStatistics:
    """Statistics of one hash layer in a forward pass; shares are between 0 and 1."""

    bucket_fill: float
    empty_query_share: float
    sink_share: float


def read_statistics(statistics: Mapping[tuple[int, int], Float[Tensor, "3"]]) -> dict[int, LayerStatistics]:
    """Returns the statistics of each layer, means over its heads, from `Context.statistics`; reads the device once."""
    if not statistics:
        return {}
    numbers = torch.stack(list(statistics.values())).tolist()
    of_layers: dict[int, list[list[float]]] = {}
    for (layer, _), of_heads in zip(statistics, numbers, strict=True):
        of_layers.setdefault(layer, []).append(of_heads)
    return {layer: LayerStatistics(*map(fmean, zip(*parts, strict=True))) for layer, parts in of_layers.items()}


@dataclass(frozen=True)
class Context:
    """One pass over a sequence of consecutive documents that do not attend to each other.

    `document_ids` is the number of each token's document, different for adjacent documents; `rotations` returns the
    random directions of a hash layer, the same for each call in a pass. Where `statistics` is a dictionary, hash layers
    store theirs in it, by layer and the first of equally many heads, on the device in the order of `LayerStatistics`.
    Where `key_moments` is one, they store the second moments of their keys, by layer, first head and distance between
    heads. Without a `dropout_seed` nothing is dropped.
    """

    document_ids: Int[Tensor, "tokens"]
    rotations: Callable[[int], Float[Tensor, "heads head_dim directions"]]
    statistics: dict[tuple[int, int], Float[Tensor, "3"]] | None = None
    key_moments: dict[tuple[int, int, int], Float[Tensor, "heads head_dim head_dim"]] | None = None
    dropout_seed: int | None = None

    def of(self, span: slice) -> "Context":
        """Returns the context of some of the tokens."""
        return replace(self, document_ids=self.document_ids[span])

    @cached_property
    def n_document_numbers(self) -> int:
        """One more than the largest number of a document; read from the device."""
        return int(self.document_ids.max()) + 1

    @cached_property
    def starts(self) -> Int[Tensor, "documents"]:
        """The position of the first token of each document."""
        changes = self.document_ids[1:] != self.document_ids[:-1]
        return torch.nn.functional.pad(changes.nonzero()[:, 0] + 1, (1, 0))

    @cached_property
    def bounds(self) -> list[tuple[int, int]]:
        """The start and stop of each document."""
        starts = self.starts.tolist()
        return list(zip(starts, [*starts[1:], self.document_ids.shape[0]], strict=True))

    def ends_within(self, span: slice) -> bool:
        """Returns whether a document ends within a span of positions."""
        return self._stops[bisect_right(self._stops, span.start)] <= span.stop

    @cached_property
    def _stops(self) -> list[int]:
        return [stop for _, stop in self.bounds]

    @cached_property
    def position(self) -> Int[Tensor, "tokens"]:
        """The position of each token in its document, from 0."""
        device = self.document_ids.device
        lengths = torch.tensor([stop - start for start, stop in self.bounds], device=device)
        return torch.arange(len(self.document_ids), device=device) - self.starts.repeat_interleave(
            lengths, output_size=len(self.document_ids)
        )
