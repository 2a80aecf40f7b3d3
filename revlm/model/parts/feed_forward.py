"""The feed-forward sublayer: token-wise, so that its [tile, d_ff] tensors exist for one tile at a time."""

from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.parts.dropout import Draw, Dropout
from revlm.model.parts.memory import LayerSizes, StageMemory, adding_bytes, stage_memory
from revlm.model.parts.norm import RMSNorm
from revlm.model.parts.sublayer import Write
from revlm.ops.fixed_point import StreamTile
from revlm.ops.squared_relu import squared_relu


class FeedForward(Write):
    """Returns `W_out relu(W_in norm(x))^2`."""

    def __init__(self, d_model: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.norm = RMSNorm(d_model)
        self.widen = nn.Linear(d_model, d_ff, bias=False)
        self.narrow = nn.Linear(d_ff, d_model, bias=False)
        self.dropout = Dropout(dropout)

    def writers(self) -> tuple[nn.Linear, ...]:
        """Returns the linear map that writes into the stream."""
        return (self.narrow,)

    def forward(
        self, x: StreamTile | Float[Tensor, "tile d_model"], draw: Draw | None = None
    ) -> Float[Tensor, "tile d_model"]:
        """Returns the increment of a tile of the stream."""
        return self.dropout(self.narrow(squared_relu(self.widen(self.norm(x)))), draw)


def memory(sizes: LayerSizes, matrices: int) -> StageMemory:
    """Returns the bytes of a tile of the feed-forward sublayer; `matrices` is the number of weights of its matrices."""
    d, f, p = sizes.d_model, sizes.d_ff, sizes.product_bytes
    kept = d if sizes.dropout else 0  # whether each number stays, one byte
    return stage_memory(
        sizes,
        matrices=matrices,
        # Squaring holds two [tile, d_ff] tensors; PyTorch's operations hold another one.
        forward=max(
            (4 + p) * d,
            (2 if sizes.compiled else 3) * p * f,
            adding_bytes(sizes, (1 + sizes.dropout) * p * d + kept),
        ),
        left=p * d,
        # The stream, the normed stream, two [tile, d_ff] tensors, the increment.
        graph=4 * d + p * d + 2 * p * f + p * d + kept,
        backward=2 * p * f + p * d,
        wide=4 * p * f,
    )
