"""The memory of a layer in the plan: sizes, and the bytes of token-wise stages and of attention.

Each part of a layer counts its own memory, in the file of its code. Counts are bytes per token: `4 * d` stands for a
[tile, d_model] tensor in full precision, `p * d` for one in product precision, including what PyTorch's operations save
for the backward pass.
"""

from dataclasses import dataclass
from typing import NamedTuple

from revlm.ops import backends
from revlm.ops.attention import triton
from revlm.ops.normalization import TILE as NORM_TILE

FULL_BYTES = 4
"""Bytes of an element of weights, streams and sums: float32 or int32."""


class Weights(NamedTuple):
    """The number of weights of one sublayer: in total, and of the matrices of its two token-wise stages."""

    total: int
    read_matrices: int
    write_matrices: int


@dataclass(frozen=True)
class LayerSizes:
    """The sizes that determine a layer's tensors; `product_bytes` is the size of an element of a matrix product.

    `tokens` are those of one of the `sequence_ranks` that share an example, which has `all_tokens`; `heads_at_a_time`
    are the heads whose attention exists at a time. `tile` is the number of tokens of a tile, `directions` that of
    random directions in all rounds of hashing; `device_kind` is "cpu" or "cuda".
    """

    tokens: int
    all_tokens: int
    sequence_ranks: int
    d_model: int
    d_ff: int
    n_heads: int
    heads_at_a_time: int
    n_rounds: int
    directions: int
    window: int
    block: int
    tile: int
    product_bytes: int
    dropout: bool
    successor_values: bool
    predecessor_keys: bool
    device_kind: str

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return self.d_model // self.n_heads

    @property
    def groups(self) -> int:
        """The number of groups of heads that attention takes one after the other."""
        return self.n_heads // self.heads_at_a_time

    @property
    def width(self) -> int:
        """The width of the heads that attention takes at a time."""
        return self.heads_at_a_time * self.head_dim

    @property
    def own_heads(self) -> int:
        """The number of heads at a time of a rank where ranks trade tokens for heads."""
        return self.heads_at_a_time // self.sequence_ranks

    @property
    def compiled(self) -> bool:
        """Whether the operations run on the compiled CPU backend."""
        return backends.planned(self.device_kind) == "compiled"

    @property
    def in_triton(self) -> bool:
        """Whether attention and hashing run on the Triton backend."""
        return backends.planned(self.device_kind) == "triton" and triton.takes_head_dim(self.head_dim)

    @property
    def hidden_bytes(self) -> int:
        """The bytes of a [tokens, d_model] tensor in full precision."""
        return FULL_BYTES * self.tokens * self.d_model

    @property
    def heads_bytes(self) -> int:
        """The bytes of a tensor of the heads that attention takes at a time, in product precision."""
        return self.product_bytes * self.tokens * self.width

    @property
    def tile_tokens(self) -> int:
        """The number of tokens of the largest tile."""
        return min(self.tile, self.tokens)

    @property
    def tiles(self) -> int:
        """The number of tiles of an example."""
        return -(-self.tokens // self.tile)


class StageMemory(NamedTuple):
    """Bytes of one tile of a token-wise stage.

    `forward` is the peak without a graph, `left` what variables still hold after the tiles, `graph` what a graph keeps,
    including its results, and `backward` the peak besides the graph during differentiation. Of the graph, `casts` is
    the part of cast weights, which all tiles share; of graph and backward together, `of_weights` is that of casts and
    gradients of weights, `wide` that of [tile, d_ff] tensors.
    """

    forward: int
    left: int
    graph: int
    backward: int
    casts: int
    of_weights: int
    wide: int = 0


class MixMemory(NamedTuple):
    """Bytes of one attention over all tokens, of the heads that it takes at a time.

    `read` is the input from the tiles, `mixed` the output, `saved` what else is saved for the backward pass. `d_mixed`
    is the gradient of the output, 0 where it is written over it and `delta`, their inner products, held instead. `made`
    are the gradients that the operation allocates, `gradients` those of the input, the last of which is `summed` from
    two where one tensor is read twice; the `overwritten` part of the input holds gradients at the end. The workspaces
    are additional. Of what the ranks that share an example exchange, a rank sends `sent_read` bytes before attention
    and `sent_mixed` after it, or as many of gradients, and `sent_delta` in the backward pass; `exchanged` is the
    largest tensor that is exchanged at once.
    """

    read: int
    mixed: int
    saved: int
    d_mixed: int
    delta: int
    made: int
    summed: int
    gradients: int
    overwritten: int
    forward_workspace: int
    backward_workspace: int
    sent_read: int = 0
    sent_mixed: int = 0
    sent_delta: int = 0
    exchanged: int = 0

    def of_heads(self, sizes: LayerSizes) -> "MixMemory":
        """Returns it for a kind whose ranks trade tokens for heads: all tensors but those of the others' heads."""
        others = sizes.sequence_ranks - 1
        return self._replace(
            sent_read=self.read * others // sizes.sequence_ranks,
            sent_mixed=self.mixed * others // sizes.sequence_ranks,
            sent_delta=self.delta * others // sizes.sequence_ranks,
            exchanged=self.mixed if others else 0,
        )


class AttentionMemory(NamedTuple):
    """Bytes of one attention sublayer: of its token-wise stages and of the attention between them."""

    read: StageMemory
    mix: MixMemory
    write: StageMemory


def stage_memory(
    sizes: LayerSizes,
    *,
    matrices: int,
    groups: int = 1,
    forward: int,
    left: int,
    graph: int,
    backward: int,
    extra: int = 0,
    wide: int = 0,
) -> StageMemory:
    """Returns the bytes of a stage from bytes per token; `matrices` is the number of weights of its matrices.

    `groups` are those of the heads of attention, which each have a copy of their part of the matrices; the bytes per
    token are those of one of them.

    `extra` is the number of further bytes of a tile in the forward pass.
    """
    tile, product = sizes.tile_tokens, sizes.product_bytes
    # One tile's weight gradients, and the cast weights of its products.
    casts = 0 if product == FULL_BYTES else product * matrices
    gradients = (casts + FULL_BYTES * matrices) // groups
    casts += 0 if groups == 1 else product * matrices
    return StageMemory(
        forward=tile * forward + casts + extra,
        left=tile * left,
        graph=tile * graph + casts,
        backward=tile * backward + gradients,
        casts=casts,
        of_weights=casts + gradients,
        wide=tile * wide,
    )


def normalizing_bytes(sizes: LayerSizes) -> int:
    """Returns the bytes that PyTorch's norm holds besides its input and result: two tensors of a tile."""
    if sizes.compiled:
        return 0
    return 2 * FULL_BYTES * min(NORM_TILE[sizes.device_kind], sizes.tile_tokens) * sizes.d_model


def adding_bytes(sizes: LayerSizes, before: int) -> int:
    """Returns the bytes per token while an increment is rounded to the grid and added, on top of `before`."""
    return before if sizes.compiled else before + (sizes.product_bytes + FULL_BYTES) * sizes.d_model


def gradients_lie_over_inputs(sizes: LayerSizes, rounds: int) -> bool:
    """Whether attention writes gradients over q, k and v; compiled kernels do not for one round in full precision."""
    return sizes.in_triton or (sizes.compiled and (rounds > 1 or sizes.product_bytes < FULL_BYTES))
