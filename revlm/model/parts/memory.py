"""How the plan of a step's memory counts a layer: sizes, and the bytes of token-wise stages and of attention.

Each part of a layer counts its own, in the file of its code. A unit in these counts is an element of a token: `4 * d`
stands for a [tile, d_model] in full precision, `p * d` for one in the precision of the products, with what PyTorch's
operations save for their gradients.
"""

from dataclasses import dataclass
from typing import NamedTuple

from revlm.ops import backends
from revlm.ops.attention import triton
from revlm.ops.normalization import TILE as NORM_TILE

FULL_BYTES = 4
"""An element of the weights, the streams and everything that is summed: float32 or int32."""


class Weights(NamedTuple):
    """Elements of the weights of one sublayer: all of them, and the matrices of its two token-wise stages."""

    total: int
    read_matrices: int
    write_matrices: int


@dataclass(frozen=True)
class LayerSizes:
    """Sizes that decide how large a layer's tensors are; `product_bytes` is an element of a matrix product.

    `tile` is the tokens of one tile; `directions` are those that a vector is compared with in one round of hashing;
    `device_kind` is "cpu" or "cuda".
    """

    tokens: int
    d_model: int
    d_ff: int
    n_heads: int
    n_rounds: int
    directions: int
    window: int
    block: int
    tile: int
    product_bytes: int
    dropout: bool
    successor_values: bool
    device_kind: str

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return self.d_model // self.n_heads

    @property
    def compiled(self) -> bool:
        """Whether the operations are those compiled for the CPU."""
        return backends.planned(self.device_kind) == "compiled"

    @property
    def in_triton(self) -> bool:
        """Whether attention and hashing are Triton's kernels."""
        return backends.planned(self.device_kind) == "triton" and triton.takes_head_dim(self.head_dim)

    @property
    def hidden_bytes(self) -> int:
        """A whole [tokens, d_model] in full precision."""
        return FULL_BYTES * self.tokens * self.d_model

    @property
    def product_hidden_bytes(self) -> int:
        """A whole [tokens, d_model] in the precision of the products."""
        return self.product_bytes * self.tokens * self.d_model

    @property
    def tile_tokens(self) -> int:
        """Tokens of the largest tile."""
        return min(self.tile, self.tokens)

    @property
    def tiles(self) -> int:
        """How many tiles an example has."""
        return -(-self.tokens // self.tile)


class StageMemory(NamedTuple):
    """Bytes of one tile of a token-wise stage.

    `forward` is the most held without a graph, `left` what is still bound to names when the tiles are done, `graph`
    what a graph keeps, its results included, and `backward` the most held beside the graph while it is differentiated.
    Of graph and backward together, `of_weights` are casts and gradients of weights, `wide` tensors of [tile, d_ff].
    """

    forward: int
    left: int
    graph: int
    backward: int
    of_weights: int
    wide: int = 0


class MixMemory(NamedTuple):
    """Bytes of one attention over all tokens.

    `read` is what the tiles hand over, `mixed` what attention makes of it, `saved` what it saves besides for its
    gradients. `made` are the gradients that the operation makes, `gradients` those of what was read, of which the last
    is `summed` from several where one tensor is read twice; the `overwritten` part of what was read holds gradients in
    the end. The work spaces are beside all that.
    """

    read: int
    mixed: int
    saved: int
    made: int
    summed: int
    gradients: int
    overwritten: int
    forward_workspace: int
    backward_workspace: int


class AttentionMemory(NamedTuple):
    """Bytes of one attention sublayer: of its token-wise stages and of what lies between them."""

    read: StageMemory
    mix: MixMemory
    write: StageMemory


def stage_memory(
    sizes: LayerSizes,
    *,
    matrices: int,
    forward: int,
    left: int,
    graph: int,
    backward: int,
    extra: int = 0,
    wide: int = 0,
) -> StageMemory:
    """Returns the bytes of a stage with the elements of its matrices, from bytes of one token in each of its moments.

    `extra` are bytes of a tile beside the tokens' in the forward pass.
    """
    tile, product = sizes.tile_tokens, sizes.product_bytes
    # The weight gradients of one tile, and the casts that its products read.
    casts = 0 if product == FULL_BYTES else product * matrices
    gradients = casts + FULL_BYTES * matrices
    return StageMemory(
        forward=tile * forward + casts + extra,
        left=tile * left,
        graph=tile * graph + casts,
        backward=tile * backward + gradients,
        of_weights=casts + gradients,
        wide=tile * wide,
    )


def normalizing_bytes(sizes: LayerSizes) -> int:
    """What a norm by PyTorch's own operations holds beside its input and its result: two tensors of a tile."""
    if sizes.compiled:
        return 0
    return 2 * FULL_BYTES * min(NORM_TILE[sizes.device_kind], sizes.tile_tokens) * sizes.d_model


def adding_bytes(sizes: LayerSizes, before: int) -> int:
    """Bytes of a token while an increment is put on the grid and added, given what was there before."""
    return before if sizes.compiled else before + (sizes.product_bytes + FULL_BYTES) * sizes.d_model


def gradients_lie_over_inputs(sizes: LayerSizes, rounds: int) -> bool:
    """Whether attention writes gradients over q, k and v; compiled, not in full precision and in a single round."""
    return sizes.in_triton or (sizes.compiled and (rounds > 1 or sizes.product_bytes < FULL_BYTES))
