"""The parts of a residual sublayer, and which tokens each may see."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.parts.context import Context
from revlm.model.parts.dropout import Draw
from revlm.ops.attention import Delta
from revlm.ops.fixed_point import StreamTile


class Read(nn.Module):
    """A token-wise projection of the stream into the tensors that a sublayer mixes.

    Its input is a tile of the stream, `lookahead` tokens longer than the `span` of its output (except at the end of the
    sequence). It returns tensors [heads, tile, head_dim] with the tokens of the span. It must not draw random numbers.

    Attributes:
        results: the number of tensors that it returns.
    """

    lookahead = 0
    results: int
    n_heads: int
    head_dim: int

    def forward(
        self,
        x: StreamTile | Float[Tensor, "_ d_model"],
        context: Context,
        span: slice,
        into: Sequence[Tensor] | None = None,
        *,
        only_graph: bool = False,
    ) -> tuple[Float[Tensor, "heads tile head_dim"], ...]:
        """Returns the tensors to mix, for the positions of the span.

        They are written `into` some tensors where these are given; those returned then serve gradients alone, and
        their values may be anything, as with `only_graph`.
        """
        raise NotImplementedError


class Mix(nn.Module):
    """The only part that mixes tokens: attention over all that was read. It must not draw random numbers.

    Attributes:
        rows_before: how many tokens before a run of them their attention may read, besides their own; the first tensor
            that it reads holds queries and needs none. None where it may read every token: it then computes the heads
            `context.heads`, and the tensors hold no others.
        takes_delta: whether its backward pass needs no mixed values where it is given the `delta`, so that their
            gradient can be written over them.
    """

    rows_before: int | None = None
    takes_delta = False

    def forward(
        self, *read: Tensor, context: Context, delta: Delta | None = None
    ) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the mixed values of every token."""
        raise NotImplementedError


class Write(nn.Module):
    """A token-wise map from the mixed values (or from the stream, in a sublayer without mixing) to the increment.

    `draw` draws the numbers that dropout needs; without it nothing is dropped.
    """

    def writers(self) -> tuple[nn.Linear, ...]:
        """Returns the linear maps that write into the stream."""
        raise NotImplementedError

    def forward(self, x: Any, draw: Draw | None = None) -> Float[Tensor, "tile d_model"]:
        """Returns the increment of a tile."""
        raise NotImplementedError


class Sublayer(nn.Module):
    """One residual sublayer: read and mix, or neither, then write the increment."""

    def __init__(self, write: Write, read: Read | None = None, mix: Mix | None = None) -> None:
        super().__init__()
        self.read, self.mix, self.write = read, mix, write
