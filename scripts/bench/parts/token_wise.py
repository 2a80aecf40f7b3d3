"""The token-wise operations, in tiles as in the reversible stack.

The backward pass rebuilds a tile and differentiates it at once, so both are one part.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bench.parts.part import Part, Work
from bench.precisions import DTYPES
from bench.shape import Shape
from bench.systems.reversible import recipe_of
from revlm.model.parts.feed_forward import FeedForward
from revlm.model.parts.norm import RMSNorm
from revlm.model.shape import tile_tokens
from revlm.ops.fixed_point import FixedPoint
from revlm.ops.heads import split_heads

Outputs = tuple[Tensor, ...]
_FRACTION_BITS = 20


def parts(shape: Shape, precision: str) -> Iterator[Part]:
    """Yields projections, feed-forward, norm and stream arithmetic; `narrow` is the size of an element in bytes."""
    elements, narrow = shape.tokens * shape.d_model, DTYPES[precision].itemsize
    # Keys and values of a token, the values of its successor, and the heads back into the stream: 2 + 1 + 1.
    yield from _twice(
        "projections",
        shape,
        calls=shape.layers,
        flops=2 * 4 * shape.d_model * elements,
        bytes_per_element=(4 + 5 * narrow, 8 + 6 * narrow),
        work=_projections,
    )
    yield from _twice(
        "feed-forward",
        shape,
        calls=shape.layers,
        flops=2 * 2 * shape.d_ff * elements,
        bytes_per_element=(4 + narrow, 8 + narrow),
        work=lambda shape: FeedForward(shape.d_model, shape.d_ff, 0.0),
    )
    # The feed-forward's norm is timed there; the last one is before the head.
    yield from _twice(
        "RMSNorm",
        shape,
        calls=shape.layers + 1,
        flops=4 * elements,
        bytes_per_element=(4 + narrow, 8 + narrow),
        work=lambda shape: RMSNorm(shape.d_model),
    )
    yield from _twice(
        "unit vectors",
        shape,
        calls=shape.layers,
        flops=4 * elements,
        bytes_per_element=(4 + 3 * narrow, 8 + 6 * narrow),  # with the cast from float32
        work=lambda shape: _UnitHeads(shape, DTYPES[precision]),
    )
    for sign in ("add", "subtract"):
        yield Part(
            f"fixed point, {sign}",
            calls=2 * shape.layers,
            flops=3 * elements,
            bytes=(8 + narrow) * elements,
            prepare=partial(_fixed_point, shape, precision, sign),
        )


def _twice(
    name: str,
    shape: Shape,
    *,
    calls: int,
    flops: int,
    bytes_per_element: tuple[int, int],
    work: Callable[[Shape], nn.Module],
) -> Iterator[Part]:
    """Yields the forward pass, and the rebuilt one with its backward pass, which has twice as many products."""
    elements = shape.tokens * shape.d_model
    forward, backward = (count * elements for count in bytes_per_element)
    yield Part(f"{name}, forward", calls, flops, forward, lambda: _forward(shape, work(shape)))
    yield Part(f"{name}, rebuilt and backward", calls, 3 * flops, backward, lambda: _backward(shape, work(shape)))


def _tiles(shape: Shape, *, differentiable: bool) -> list[Tensor]:
    x = torch.randn(shape.tokens, shape.d_model)
    return [tile.requires_grad_(differentiable) for tile in x.split(_tile_tokens(shape))]


def _tile_tokens(shape: Shape) -> int:
    return tile_tokens(recipe_of(shape), "auto", torch.get_default_device().type)


def _forward(shape: Shape, module: nn.Module) -> Work:
    tiles = _tiles(shape, differentiable=False)

    @torch.no_grad()
    def work() -> None:
        for tile in tiles:
            module(tile)

    return work


def _backward(shape: Shape, module: nn.Module) -> Work:
    tiles = _tiles(shape, differentiable=True)
    gradients = [torch.randn_like(part) for part in _as_tuple(module(tiles[0]))]
    parameters = list(module.parameters())

    def work() -> None:
        for tile in tiles:
            outputs = _as_tuple(module(tile))
            d_outputs = [gradient[: len(tile)] for gradient in gradients]
            torch.autograd.grad(outputs, (tile, *parameters), d_outputs)

    return work


def _as_tuple(result: Tensor | Outputs) -> Outputs:
    return result if isinstance(result, tuple) else (result,)


class _Projections(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.write = nn.Parameter(torch.randn(width, width) * width**-0.5)

    def forward(self, x: Tensor) -> Outputs:
        return linear(x, self.read), linear(x, self.write)


class _UnitHeads(nn.Module):
    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads, self.dtype = shape.heads, dtype

    def forward(self, x: Tensor) -> Tensor:
        (heads,) = split_heads([x.to(self.dtype)], self.heads, x.shape[1], units=1)
        return heads.transpose(0, 1)


def _projections(shape: Shape) -> nn.Module:
    return _Projections(shape.d_model)


def _fixed_point(shape: Shape, precision: str, sign: str) -> Work:
    fixed = FixedPoint(_FRACTION_BITS, torch.get_default_device())
    stream = torch.zeros(shape.tokens, shape.d_model, dtype=torch.int32)
    tile = _tile_tokens(shape)
    increments = torch.randn(shape.tokens, shape.d_model).mul_(2.0**-6).to(DTYPES[precision]).split(tile)
    change = {"add": fixed.add_, "subtract": fixed.subtract_}[sign]

    def work() -> None:
        for part, increment in zip(stream.split(tile), increments, strict=True):
            change(part, increment)

    return work
