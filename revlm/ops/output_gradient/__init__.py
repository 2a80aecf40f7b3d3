"""The gradient of an output written over it, with what attention's backward pass still needs of the output.

That is delta, the inner product of each output vector and its gradient. A backend has `write_gradient(out, d_out,
delta)`.
"""

from jaxtyping import Float
from torch import Tensor

from revlm.ops import backends

__all__ = ["write_gradient"]


def write_gradient(
    out: Float[Tensor, "rows tokens head_dim"],
    d_out: Float[Tensor, "rows tokens head_dim"],
    delta: Float[Tensor, "rows tokens"],
) -> None:
    """Writes `(out * d_out).sum(-1)` to `delta`, in delta's dtype, and `d_out` over `out`."""
    backends.implementation(__name__, out.device, out, d_out, delta).write_gradient(out, d_out, delta)
