"""Hashing keys to buckets, and sorting the buckets."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bench.parts.part import FLOAT_BYTES, Part, Work
from bench.shape import Shape
from revlm.model import automatic_buckets
from revlm.ops.attention.order import bucket_order
from revlm.ops.hashing import directions_of, draw_rotations, hash_buckets

# A place in the order, the token there and the place of a token, 32 bits each, besides the 32 bits of the bucket.
_ORDER_BYTES = 16


def parts(shape: Shape) -> Iterator[Part]:
    """Yields the parts, always in float32. Sorting is part of attention."""
    per_token, directions = shape.heads * shape.rounds, directions_of(_n_buckets(shape))
    yield Part(
        "draw rotations",
        calls=shape.layers,
        flops=0,
        bytes=FLOAT_BYTES * shape.d_model * directions,
        prepare=lambda: lambda: rotations(shape),
    )
    yield Part(
        "hash",
        calls=2 * shape.layers,
        flops=2 * shape.tokens * shape.d_model * directions,
        bytes=FLOAT_BYTES * shape.tokens * (shape.d_model + per_token),
        prepare=lambda: _hash(shape),
    )
    yield Part(
        "order (within attention)",
        calls=0,
        flops=0,
        bytes=_ORDER_BYTES * shape.tokens * per_token,
        prepare=lambda: _order(shape),
    )


def rotations(shape: Shape) -> Tensor:
    """Returns the random directions of one layer in one step."""
    drawn = draw_rotations(0, 0, 0, shape.heads, shape.head_dim, _n_buckets(shape))
    return drawn.to(torch.get_default_device())


def unit_keys(shape: Shape) -> Tensor:
    """Returns random unit vectors [heads, tokens, head_dim]."""
    return normalize(torch.randn(shape.heads, shape.tokens, shape.head_dim), dim=-1)


def buckets(shape: Shape, keys: Tensor) -> Tensor:
    """Returns the buckets of keys, [heads, rounds, tokens]."""
    return hash_buckets(keys, rotations(shape), _n_buckets(shape))


def _n_buckets(shape: Shape) -> tuple[int, ...]:
    return automatic_buckets(shape.tokens, shape.window, shape.rounds)


def _hash(shape: Shape) -> Work:
    keys, drawn = unit_keys(shape), rotations(shape)
    return lambda: hash_buckets(keys, drawn, _n_buckets(shape))


def _order(shape: Shape) -> Work:
    bucket = buckets(shape, unit_keys(shape))
    return lambda: [bucket_order(row, shape.window) for row in bucket]
