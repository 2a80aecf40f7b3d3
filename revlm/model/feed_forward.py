"""The feed-forward sublayer: token-wise, so that its wide middle exists for one tile of tokens at a time."""

from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.norm import RMSNorm
from revlm.model.sublayer import Write
from revlm.ops.squared_relu import squared_relu


class FeedForward(Write):
    """Returns `W_out relu(W_in norm(x))^2`."""

    def __init__(self, d_model: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.norm = RMSNorm(d_model)
        self.widen = nn.Linear(d_model, d_ff, bias=False)
        self.narrow = nn.Linear(d_ff, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def writers(self) -> tuple[nn.Linear, ...]:
        """Returns the linear map whose result goes into the stream."""
        return (self.narrow,)

    def forward(self, x: Float[Tensor, "tile d_model"]) -> Float[Tensor, "tile d_model"]:
        """Returns the increment of a tile of the stream."""
        return self.dropout(self.narrow(squared_relu(self.widen(self.norm(x)))))
