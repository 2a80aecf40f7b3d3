"""The parts of a residual sublayer, and what each may look at."""

from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.parts.context import Context


class Read(nn.Module):
    """A token-wise projection of the stream into what a sublayer mixes.

    Called with a tile of the stream, `lookahead` tokens longer than the `span` of positions it answers for (except
    at the end of the sequence). Returns tensors with the tokens of the span in dimension 1. Draws nothing at random.
    """

    lookahead = 0

    def forward(self, x: Float[Tensor, "longer_tile d_model"], context: Context, span: slice) -> tuple[Tensor, ...]:
        """Returns the tensors to mix, for the positions of the span."""
        raise NotImplementedError


class Mix(nn.Module):
    """The only part that lets tokens meet: attention over all that was read. Draws nothing at random."""

    def forward(self, *read: Tensor, context: Context) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the mixed values of every token."""
        raise NotImplementedError


class Write(nn.Module):
    """A token-wise map from what was mixed (or from the stream, where a sublayer mixes nothing) to the increment."""

    def writers(self) -> tuple[nn.Linear, ...]:
        """Returns the linear maps whose results go into the stream."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Float[Tensor, "tile d_model"]:
        """Returns the increment of a tile."""
        raise NotImplementedError


class Sublayer(nn.Module):
    """One residual increment of a stream: read and mix, or neither, then write."""

    def __init__(self, write: Write, read: Read | None = None, mix: Mix | None = None) -> None:
        super().__init__()
        self.read, self.mix, self.write = read, mix, write
