"""The reversible stack: two fixed-point streams, memory constant in depth, gradients identical to the bit.

Sublayers alternate: an even one adds to the first stream an increment computed from the second, an odd one the other
way round. Streams are int32 on a grid, so subtracting the same increments in reverse order restores the same bits
(after Gomez et al., arXiv 1707.04585, whose floating-point residuals drift). Besides the two streams and their two
gradients, all [tokens, d_model], only one sublayer's tensors exist at a time. That the streams are restored is checked
after every backward pass.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from revlm.errors import ReversalError
from revlm.model.parts.context import Context
from revlm.model.parts.sublayer import Sublayer
from revlm.model.sequence import SINGLE, SequenceGroup
from revlm.model.tiles import Gradients, Kept, SublayerPass, sublayer_parameters
from revlm.ops.fixed_point import FixedPoint
from revlm.ops.heap import copy_in_huge_pages, hold_in_huge_pages
from revlm.ops.normalization import TILE


class ReversibleStack(nn.Module):
    """A stack of residual sublayers on two streams.

    With `reversible` False each sublayer's graph is stored instead of rebuilt: the same numbers, more memory.
    """

    def __init__(self, sublayers: Iterable[Sublayer], *, fraction_bits: int, reversible: bool, tile: int) -> None:
        super().__init__()
        self.sublayers = nn.ModuleList(sublayers)
        self.fraction_bits, self.reversible, self.tile = fraction_bits, reversible, tile

    def forward(
        self,
        embedding: Float[Tensor, "tokens d_model"],
        context: Context,
        sequence: SequenceGroup = SINGLE,
        *,
        may_overwrite: bool = False,
    ) -> tuple[Float[Tensor, "tokens d_model"], FixedPoint]:
        """Returns the sum of the two final streams, and the `FixedPoint` that tracks their range.

        `embedding` has the tokens of this rank of the `sequence`, `context` is that of all tokens. With `may_overwrite`
        the backward pass may write over the gradient of the sum, which nothing else may hold then.
        """
        fixed = FixedPoint(self.fraction_bits, embedding.device)
        sublayers = [layer for layer in self.sublayers if isinstance(layer, Sublayer)]
        parameters = [parameter for layer in sublayers for parameter in sublayer_parameters(layer)]
        passes = [
            SublayerPass(layer, number, context, self.tile, fixed, embedding, sequence)
            for number, layer in enumerate(sublayers)
        ]
        # Checked here: inside the Function gradients are off, and `needs_input_grad` is true even under `no_grad`.
        differentiable = torch.is_grad_enabled()
        options = (self.reversible, differentiable, may_overwrite)
        return _Stack.apply(passes, fixed, *options, embedding, *parameters), fixed


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        passes: list[SublayerPass],
        fixed: FixedPoint,
        reversible: bool,
        differentiable: bool,
        may_overwrite: bool,
        embedding: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        first = hold_in_huge_pages(torch.empty_like(embedding, dtype=torch.int32)).zero_()
        fixed.add_(first, embedding)
        checksum = fixed.checksum(first) if reversible and differentiable else None
        streams = [first, copy_in_huge_pages(first)]
        keep = not reversible and differentiable and any(ctx.needs_input_grad)
        kept = [each.add_(streams[1 - turn % 2], streams[turn % 2], keep=keep) for turn, each in enumerate(passes)]
        ctx.passes, ctx.kept, ctx.reversible = passes, kept, reversible
        ctx.streams = streams if reversible else None
        ctx.checksum, ctx.may_overwrite = checksum, may_overwrite
        return _sum_of(streams, fixed, embedding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        passes: list[SublayerPass] | None = ctx.passes
        if passes is None:
            raise RuntimeError("the backward pass has already run: call the model again before backward()")
        kept: list[Kept | None] = ctx.kept
        streams: list[Tensor] | None = ctx.streams
        ctx.passes = ctx.kept = ctx.streams = None
        over = ctx.may_overwrite and d_out.is_contiguous()
        d_streams = [d_out if over else copy_in_huge_pages(d_out), copy_in_huge_pages(d_out)]
        gradients: list[Gradients] = []
        random_state = passes[0].random_state() if passes else None
        try:
            for turn in reversed(range(len(passes))):
                target, source = turn % 2, 1 - turn % 2
                pair = None if streams is None else (streams[source], streams[target])
                gradients.append(
                    passes[turn].backward(pair, kept[turn], d_source=d_streams[source], d_target=d_streams[target])
                )
                kept[turn] = None
        finally:  # restores the generators after a failure, too
            if random_state is not None:
                passes[0].set_random_state(random_state)
        if streams is not None:
            _require_reversal(streams, ctx.checksum)
        d_parameters = [gradient for of_sublayer in reversed(gradients) for gradient in of_sublayer]
        return None, None, None, None, None, d_streams[0].add_(d_streams[1]), *d_parameters


def _sum_of(streams: list[Tensor], fixed: FixedPoint, embedding: Tensor) -> Tensor:
    """Returns the sum of both streams, NaN once an increment was not finite; it is like the embedding."""
    out, poison = hold_in_huge_pages(torch.empty_like(embedding)), fixed.poison().to(embedding.dtype)
    rows = TILE.get(embedding.device.type, TILE["cpu"])
    for tile, *of_streams in zip(*(each.split(rows) for each in (out, *streams)), strict=True):
        first, second = (fixed.to_float(each, out.dtype) for each in of_streams)
        torch.add(first, second, out=tile)
        tile += poison
    return out


def _require_reversal(streams: list[Tensor], checksum: Tensor) -> None:
    """Checks that both streams are again the embedding that they began with; waits for the device.

    Raises:
        ReversalError: a stream differs, so a sublayer was differentiated at other inputs than it had.
    """
    both_alike = torch.equal(*streams)
    if both_alike and bool(FixedPoint.checksum(streams[0]) == checksum):
        return
    extent = "both streams" if both_alike else f"{int((streams[0] != streams[1]).sum()):,} numbers of a stream"
    raise ReversalError(
        f"the backward pass did not restore the streams of the forward pass ({extent} differ), so the gradients are "
        "wrong and were not applied: run the same command again, on another device or processor if it recurs (a "
        "layer of your own must compute the same bits twice)"
    )
