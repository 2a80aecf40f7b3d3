"""The norm in front of every sublayer and of the head."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from revlm.ops.fixed_point import StreamTile
from revlm.ops.normalization import rms_norm


class RMSNorm(nn.Module):
    """RMS normalization with a learned gain; `for_products` returns it in the precision of the matrix products."""

    def __init__(self, d_model: int, *, for_products: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.for_products = for_products

    def forward(self, x: StreamTile | Float[Tensor, "tile d_model"]) -> Float[Tensor, "tile d_model"]:
        """Returns the normalized tokens, under autocast in its dtype where `for_products` is set."""
        device = x.device.type
        products = self.for_products and torch.is_autocast_enabled(device)
        return rms_norm(x, self.weight, torch.get_autocast_dtype(device) if products else None)
