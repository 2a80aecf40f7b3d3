"""The cosines and sines of rotary position embeddings.

A backend has `table(position, half, base, dtype)`.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops import backends

__all__ = ["rotary_table"]

_BASE = 10_000.0


def rotary_table(
    position: Int[Tensor, "tile"], head_dim: int, dtype: torch.dtype
) -> tuple[Float[Tensor, "tile half_head_dim"], Float[Tensor, "tile half_head_dim"]]:
    """Returns the cosines and the sines of rotary embeddings (Su et al., arXiv 2104.09864, section 3.2), in `dtype`.

    Angles are float64: at a million tokens float32 would be off by a sixteenth of a radian.
    """
    backend = backends.implementation(__name__, position.device, position, dtype)
    cosine, sine = backend.table(position, head_dim // 2, _BASE, dtype)
    return cosine, sine
