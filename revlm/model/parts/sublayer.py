"""The parts of a residual sublayer, and which tokens each may see."""

from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.parts.context import Context
from revlm.model.parts.dropout import Draw


class Read(nn.Module):
    """A token-wise projection of the stream into the tensors that a sublayer mixes.

    Its input is a tile of the stream, `lookahead` tokens longer than the `span` of its output (except at the end of the
    sequence). It returns tensors with the tokens of the span in dimension 1. It must not draw random numbers.
    """

    lookahead = 0

    def forward(self, x: Float[Tensor, "longer_tile d_model"], context: Context, span: slice) -> tuple[Tensor, ...]:
        """Returns the tensors to mix, for the positions of the span."""
        raise NotImplementedError


class Mix(nn.Module):
    """The only part that mixes tokens: attention over all that was read. It must not draw random numbers.

    Attributes:
        rows_before: how many tokens before a run of them their attention may read, besides their own; the first tensor
            that it reads holds queries and needs none. None where it may read every token: it then computes the heads
            `context.heads`, and the tensors hold no others.
    """

    rows_before: int | None = None

    def forward(self, *read: Tensor, context: Context) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the mixed values of every token."""
        raise NotImplementedError


class Write(nn.Module):
    """A token-wise map from the mixed values (or from the stream, in a sublayer without mixing) to the increment.

    `draw` draws the numbers that dropout needs; without it nothing is dropped.
    """

    def writers(self) -> tuple[nn.Linear, ...]:
        """Returns the linear maps that write into the stream."""
        raise NotImplementedError

    def forward(self, x: Tensor, draw: Draw | None = None) -> Float[Tensor, "tile d_model"]:
        """Returns the increment of a tile."""
        raise NotImplementedError


class Sublayer(nn.Module):
    """One residual sublayer: read and mix, or neither, then write the increment."""

    def __init__(self, write: Write, read: Read | None = None, mix: Mix | None = None) -> None:
        super().__init__()
        self.read, self.mix, self.write = read, mix, write
