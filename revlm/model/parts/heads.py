"""Parts of all kinds of attention: heads, unit vectors, rotary positions, the learned temperature, the output."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.model.parts.context import Context
from revlm.model.parts.dropout import Draw, Dropout
from revlm.model.parts.memory import LayerSizes, StageMemory, adding_bytes, stage_memory
from revlm.model.parts.norm import RMSNorm
from revlm.model.parts.sublayer import Read, Write
from revlm.ops.normalization import unit_heads

# Unit vectors have logits between -scale and scale; the softmax over a window of 64 needs about this much.
_INITIAL_SCALE = 10.0
_ROTARY_BASE = 10_000.0


def split_heads(x: Float[Tensor, "tile d_model"], n_heads: int) -> Float[Tensor, "heads tile head_dim"]:
    """Returns each token's heads, with the heads as the first axis."""
    return x.unflatten(-1, (n_heads, -1)).transpose(0, 1)


@dataclass(frozen=True)
class Rotary:
    """The cosines and sines of rotary position embeddings for some positions."""

    cosine: Float[Tensor, "tile half_head_dim"]
    sine: Float[Tensor, "tile half_head_dim"]

    @classmethod
    def of(cls, position: Int[Tensor, "tile"], head_dim: int, dtype: torch.dtype) -> "Rotary":
        """Returns the rotary embeddings of positions (Su et al., arXiv 2104.09864, section 3.2), in `dtype`.

        Angles are float64: at a million tokens float32 would be off by a sixteenth of a radian.
        """
        half = head_dim // 2
        frequency = _ROTARY_BASE ** (-torch.arange(half, device=position.device, dtype=torch.float64) / half)
        angle = position[:, None] * frequency
        return cls(angle.cos().to(dtype), angle.sin().to(dtype))

    def of_span(self, span: slice) -> "Rotary":
        """Returns the embeddings of a span of the positions."""
        return Rotary(self.cosine[span], self.sine[span])

    def rotate(self, x: Float[Tensor, "heads tile head_dim"]) -> Float[Tensor, "heads tile head_dim"]:
        """Returns vectors rotated by their positions."""
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * self.cosine - second * self.sine, first * self.sine + second * self.cosine], dim=-1)


class Temperature(nn.Module):
    """The scale of each head's logits, learned through its logarithm."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((n_heads,), math.log(_INITIAL_SCALE)))

    def forward(self) -> Float[Tensor, "heads"]:
        """Returns the scale of each head."""
        return self.log_scale.exp()


class ReadQueriesKeysValues(Read):
    """Separate projections: queries and keys of unit length with rotary positions, and values."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        self.norm = RMSNorm(d_model)
        self.project = nn.Linear(d_model, 3 * d_model, bias=False)

    def forward(self, x: Float[Tensor, "tile d_model"], context: Context, span: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Returns q, k, v [heads, tile, head_dim]."""
        in_full = torch.promote_types(x.dtype, torch.float32)
        return self.at(x, Rotary.of(context.position[span], self.head_dim, in_full))

    def at(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Returns q, k, v [heads, tile, head_dim] of tokens at the positions of `rotary`."""
        q, k, v = self.project(self.norm(x)).chunk(3, dim=-1)
        in_full = torch.promote_types(v.dtype, torch.float32)
        q, k = (rotary.rotate(unit_heads(part, self.n_heads, in_full)).to(v.dtype) for part in (q, k))
        return q, k, split_heads(v, self.n_heads)


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
    d, p, angles = sizes.d_model, sizes.product_bytes, 4 * sizes.head_dim
    return stage_memory(
        sizes,
        matrices=matrices,
        # While keys are rotated: the projection, queries, keys, their products with cosines and sines, the result.
        forward=4 * d + 3 * p * d + p * d + (4 + 6 + 4) * d + angles,
        left=4 * d + 3 * p * d + 2 * p * d,
        # The stream, the normed stream, the projection, the rotary embeddings, queries and keys.
        graph=4 * d + p * d + 3 * p * d + angles + 2 * p * d,
        backward=(22 if p == 4 else 20) * d,
    )


def memory_of_writing(sizes: LayerSizes, matrices: int) -> StageMemory:
    """Returns the bytes of a tile of `WriteHeads`; `matrices` is the number of weights of its matrices."""
    d, p = sizes.d_model, sizes.product_bytes
    # The joined heads, the increment, and one byte for whether each number stays.
    graph = 2 * p * d + (d if sizes.dropout else 0)
    return stage_memory(
        sizes,
        matrices=matrices,
        forward=adding_bytes(sizes, graph + sizes.dropout * p * d),
        left=p * d,
        graph=graph,
        backward=2 * p * d,
    )
