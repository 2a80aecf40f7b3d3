"""What the token-wise stages of a sublayer hold while they work on one tile, counted from their code.

A unit below is an element of a token: `4 * d` stands for a [tile, d_model] in full precision, `p * d` for one in the
precision of the products. The counts follow `revlm.model.attention.heads`, `.lsh` and `revlm.model.feed_forward`,
with what PyTorch's operations save for their gradients.
"""

from collections.abc import Callable
from typing import NamedTuple

from revlm.ops.normalization import TILE as NORM_TILE
from revlm.planning.sizes import Sizes
from revlm.recipe import LayerKind


class Stage(NamedTuple):
    """Bytes of one tile of a stage.

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


def feed_forward_stage(sizes: Sizes) -> Stage:
    """The feed-forward sublayer: norm, wide middle, its square, increment."""
    d, f, p, tile = sizes.d_model, sizes.d_ff, sizes.product_bytes, sizes.tile_tokens
    dropped = p * d if sizes.dropout else 0
    weights, casts = _weights(sizes, sizes.feed_forward_weights.write_matrices)
    # The stream, its normed vectors, two wide tensors, the increment.
    graph = 4 * d + p * d + 2 * p * f + p * d + dropped
    # At its square the wide middle is there three times.
    forward = max(4 * d + 3 * p * f, _added(sizes, 4 * d + p * d + dropped))
    backward = 2 * p * f + p * d
    return Stage(
        tile * forward + casts,
        tile * (4 + p) * d,
        tile * graph + casts,
        tile * backward + weights,
        casts + weights,
        4 * tile * p * f,
    )


def write_stage(sizes: Sizes, kind: LayerKind) -> Stage:
    """The output of an attention sublayer: the heads, joined, and the increment."""
    d, p, tile = sizes.d_model, sizes.product_bytes, sizes.tile_tokens
    dropped = p * d if sizes.dropout else 0
    weights, casts = _weights(sizes, sizes.attention_weights[kind].write_matrices)
    graph = 3 * p * d + dropped
    return Stage(
        tile * _added(sizes, graph) + casts,
        tile * 2 * p * d,
        tile * graph + casts,
        tile * 2 * p * d + weights,
        casts + weights,
    )


def read_stage(sizes: Sizes, kind: LayerKind) -> Stage:
    """The projections of an attention sublayer."""
    return _READ[kind](sizes, kind)


def _read_queries_keys_values(sizes: Sizes, kind: LayerKind) -> Stage:
    d, p, tile = sizes.d_model, sizes.product_bytes, sizes.tile_tokens
    angles = 4 * sizes.head_dim
    weights, casts = _weights(sizes, sizes.attention_weights[kind].read_matrices)
    left = 4 * d + 3 * p * d + 2 * p * d
    # The stream, its normed vectors, the projection, what queries and keys are turned by, and they.
    graph = 4 * d + p * d + 3 * p * d + angles + 2 * p * d
    # While the keys are turned: the projection, the queries, the keys before, their products with the angles, after.
    forward = 4 * d + 3 * p * d + p * d + (4 + 6 + 4) * d + angles
    backward = (22 if p == 4 else 20) * d
    return Stage(tile * forward + casts, tile * left, tile * graph + casts, tile * backward + weights, casts + weights)


def _read_keys_values(sizes: Sizes, kind: LayerKind) -> Stage:
    d, p, tile = sizes.d_model, sizes.product_bytes, sizes.tile_tokens
    weights, casts = _weights(sizes, sizes.attention_weights[kind].read_matrices)
    # Values with their successors are a sum of their own; without them they are a view of the projection.
    summed = p * d if sizes.successor_values else 0
    left = 4 * d + p * d + (summed or 2 * p * d)
    # The stream, its normed vectors, the projection, the values, the keys.
    graph = 4 * d + p * d + 2 * p * d + summed + p * d
    backward = (16 if p == 4 else 12) * d
    return Stage(
        tile * graph + casts + _normalizing(sizes),
        tile * left,
        tile * graph + casts,
        tile * backward + weights,
        casts + weights,
    )


_READ: dict[LayerKind, Callable[[Sizes, LayerKind], Stage]] = {
    "local": _read_queries_keys_values,
    "full": _read_queries_keys_values,
    "lsh": _read_keys_values,
}


def _weights(sizes: Sizes, matrices: int) -> tuple[int, int]:
    """Bytes of the weight gradients of one tile, and of the casts that its products read."""
    if sizes.product_bytes == 4:
        return 4 * matrices, 0
    return (4 + sizes.product_bytes) * matrices, sizes.product_bytes * matrices


def _normalizing(sizes: Sizes) -> int:
    """What a norm by PyTorch's own operations holds beside its input and its result: two tensors of a tile."""
    return 0 if sizes.compiled else 2 * 4 * min(NORM_TILE[sizes.device_kind], sizes.tile_tokens) * sizes.d_model


def _added(sizes: Sizes, before: int) -> int:
    """What is held while an increment is put on the grid and added, given what was there before."""
    return before if sizes.compiled else before + (sizes.product_bytes + 4) * sizes.d_model
