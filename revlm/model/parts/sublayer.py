"""The parts of a residual sublayer, and which tokens each may see."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.parts.context import Context
from revlm.model.parts.dropout import Draw
from revlm.ops.attention import Delta
from revlm.ops.fixed_point import StreamTile

ALL_HEADS = slice(None)


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

    def readers(self) -> tuple[nn.Linear, ...]:
        """Returns the linear maps from the normed stream, whose rows are those of all heads, for each result in turn.

        With the rows of some heads, the layer returns the tensors of these heads.
        """
        return ()

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
            that it reads holds queries and needs none. None where it may read every token.
        takes_delta: whether its backward pass needs no mixed values where it is given the `delta`, so that their
            gradient can be written over them.
    """

    rows_before: int | None = None
    takes_delta = False

    def forward(
        self, *read: Tensor, context: Context, heads: slice = ALL_HEADS, delta: Delta | None = None
    ) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the mixed values of every token, for some of the layer's heads; the tensors hold no others."""
        raise NotImplementedError


class Write(nn.Module):
    """A token-wise map from the mixed values (or from the stream, in a sublayer without mixing) to the increment.

    `draw` draws the numbers that dropout needs; without it nothing is dropped.
    """

    def writers(self) -> tuple[nn.Linear, ...]:
        """Returns the linear maps that write into the stream; after a mix, their columns are those of all heads.

        With the columns of some heads, the layer returns the part of the increment that comes from these heads.
        """
        raise NotImplementedError

    def forward(self, x: Any, draw: Draw | None = None) -> Float[Tensor, "tile d_model"]:
        """Returns the increment of a tile."""
        raise NotImplementedError


class Sublayer(nn.Module):
    """One residual sublayer: read and mix, or neither, then write the increment."""

    def __init__(self, write: Write, read: Read | None = None, mix: Mix | None = None) -> None:
        super().__init__()
        self.read, self.mix, self.write = read, mix, write

    @property
    def takes_some_heads(self) -> bool:
        """Whether it computes some heads at a time: its maps are matrices alone, and no hook expects all heads."""
        maps = () if self.read is None else (*self.read.readers(), *self.write.writers())
        return bool(maps) and all(map(is_plain, maps)) and not any(map(_has_hooks, self.modules()))


def is_plain(linear: nn.Module) -> bool:
    """Returns whether a map is its matrix alone, without an adapter or a hook."""
    return type(linear) is nn.Linear and linear.bias is None and not _has_hooks(linear)


def _has_hooks(module: nn.Module) -> bool:
    of_module = module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks
    return any(map(bool, of_module))
