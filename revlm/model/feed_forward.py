"""The feed-forward sublayer: token-wise, so that its wide middle exists for one tile of tokens at a time."""

from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.sublayer import Write


class FeedForward(Write):
    """Returns `W_out relu(W_in norm(x))^2`, the squared ReLU of So et al., arXiv 2109.08668, section 4."""

    def __init__(self, d_model: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.widen = nn.Linear(d_model, d_ff, bias=False)
        self.narrow = nn.Linear(d_ff, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "tile d_model"]) -> Float[Tensor, "tile d_model"]:
        """Returns the increment of a tile of the stream."""
        return self.dropout(self.narrow(self.widen(self.norm(x)).relu().square()))
