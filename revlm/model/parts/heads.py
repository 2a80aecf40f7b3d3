"""Parts of all kinds of attention: heads, unit vectors, rotary positions, the learned temperature, the output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.model.parts.context import Context
from revlm.model.parts.dropout import Draw, Dropout
from revlm.model.parts.memory import LayerSizes, StageMemory, adding_bytes, stage_memory
from revlm.model.parts.norm import RMSNorm
from revlm.model.parts.sublayer import Read, Write
from revlm.ops.fixed_point import StreamTile
from revlm.ops.heads import split_heads
from revlm.ops.rotary_table import rotary_table

# Unit vectors have logits between -scale and scale; the softmax over a window of 64 needs about this much.
_INITIAL_SCALE = 10.0


@dataclass(frozen=True)
class Rotary:
    """The cosines and sines of rotary position embeddings for some positions."""

    cosine: Float[Tensor, "tile half_head_dim"]
    sine: Float[Tensor, "tile half_head_dim"]

    @classmethod
    def of(cls, position: Int[Tensor, "tile"], head_dim: int, dtype: torch.dtype) -> "Rotary":
        """Returns the rotary embeddings of positions, in `dtype`; see `revlm.ops.rotary_table`."""
        return cls(*rotary_table(position, head_dim, dtype))

    def of_span(self, span: slice) -> "Rotary":
        """Returns the embeddings of a span of the positions."""
        return Rotary(self.cosine[span], self.sine[span])


class Temperature(nn.Module):
    """The scale of each head's logits, learned through its logarithm, times `factor` (`RevLM.scale_attention`)."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.factor = 1.0
        self.log_scale = nn.Parameter(torch.full((n_heads,), math.log(_INITIAL_SCALE)))

    def forward(self) -> Float[Tensor, "heads"]:
        """Returns the scale of each head."""
        scale = self.log_scale.exp()
        return scale if self.factor == 1 else scale * self.factor


class ReadQueriesKeysValues(Read):
    """Separate projections: queries and keys of unit length with rotary positions, and values."""

    results = 3

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        self.norm = RMSNorm(d_model)
        self.project = nn.Linear(d_model, 3 * d_model, bias=False)

    def readers(self) -> tuple[nn.Linear, ...]:
        """Returns the projection."""
        return (self.project,)

    def forward(
        self,
        x: StreamTile | Float[Tensor, "_ d_model"],
        context: Context,
        span: slice,
        into: Sequence[Tensor] | None = None,
        *,
        only_graph: bool = False,
    ) -> tuple[Tensor, ...]:
        """Returns q, k, v [heads, tile, head_dim]."""
        rotary = Rotary.of(context.position[span], self.head_dim, torch.promote_types(x.dtype, torch.float32))
        return self.at(x, rotary, into, only_graph=only_graph)

    def at(
        self,
        x: StreamTile | Float[Tensor, "tile d_model"],
        rotary: Rotary,
        into: Sequence[Tensor] | None = None,
        *,
        only_graph: bool = False,
    ) -> tuple[Tensor, ...]:
        """Returns q, k, v [heads, tile, head_dim] of tokens at the positions of `rotary`."""
        projected, table = self.project(self.norm(x)), (rotary.cosine, rotary.sine)
        width = projected.shape[-1] // self.results
        heads = width // self.head_dim
        return split_heads([projected], heads, width, units=2, rotary=table, into=into, only_graph=only_graph)


class WriteHeads(Write):
    """Joins the heads and projects them into the stream."""

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)
        self.dropout = Dropout(dropout)

    def writers(self) -> tuple[nn.Linear, ...]:
        """Returns the linear map that writes into the stream."""
        return (self.project,)

    def forward(
        self, x: Float[Tensor, "heads tile head_dim"], draw: Draw | None = None
    ) -> Float[Tensor, "tile d_model"]:
        """Returns the increment of a tile."""
        return self.dropout(self.project(x.transpose(0, 1).flatten(1)), draw)


def memory_of_reading(sizes: LayerSizes, matrices: int) -> StageMemory:
    """Returns the bytes of a tile of `ReadQueriesKeysValues`; `matrices` is the number of weights of its matrices."""
    d, w, p, angles = sizes.d_model, sizes.width, sizes.product_bytes, 4 * sizes.head_dim
    return stage_memory(
        sizes,
        matrices=matrices,
        groups=sizes.groups,
        # The projection, and one part of it while it is rotated: unit vectors, and products with cosines and sines.
        forward=max((4 + p) * d, 3 * p * w + 12 * w + angles),
        left=0,
        # The values of the stream, the normed stream, the projection, the rotary embeddings.
        graph=4 * d + p * d + 3 * p * w + angles,
        backward=max(20 * w, 12 * w + 8 * d) if p == 4 else max(18 * w, 6 * w + 6 * d),
    )


def memory_of_writing(sizes: LayerSizes, matrices: int) -> StageMemory:
    """Returns the bytes of a tile of `WriteHeads`; `matrices` is the number of weights of its matrices."""
    d, w, p = sizes.d_model, sizes.width, sizes.product_bytes
    # The joined heads, the increment, and one byte for whether each number stays.
    graph = p * w + p * d + (d if sizes.dropout else 0)
    return stage_memory(
        sizes,
        matrices=matrices,
        groups=sizes.groups,
        forward=adding_bytes(sizes, graph + sizes.dropout * p * d),
        left=p * d,
        graph=graph,
        backward=p * d + p * w,
    )
