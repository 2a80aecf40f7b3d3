"""The inputs of the backward pass, which has two launches per round, one over the queries and one over the keys.

Weights are recomputed from the log-sum-exp. In each round only the program that holds a query or key reads, adds to and
writes its sums, so results are deterministic.
"""

from typing import Any, NamedTuple

from torch import Tensor

from revlm.ops.attention.triton.order import SortedOrder
from revlm.ops.triton.launch import SUM_TYPES, padded


class Given(NamedTuple):
    """The inputs of the backward pass for some rows; `delta` is the inner product of each output and its gradient."""

    q: Tensor
    k: Tensor
    v: Tensor
    scale: Tensor
    log_sum_exp: Tensor
    d_out: Tensor
    delta: Tensor
    order: SortedOrder
    include_self: bool
    block: int

    def arguments(self, round_: int) -> dict[str, Any]:
        """Returns the arguments common to both kernels."""
        head_dim = self.q.shape[2]
        strides = {
            f"{name}_{axis}": getattr(self, name).stride(dimension)
            for name in ("q", "k", "v", "d_out")
            for dimension, axis in enumerate(("row", "token"))
        }
        return {
            **{name: getattr(self, name) for name in ("q", "k", "v", "scale", "log_sum_exp", "d_out", "delta")},
            "token": self.order.token,
            "place": self.order.place,
            "first": self.order.first,
            "queries": self.q.shape[1],
            "tokens": self.order.token.shape[2],
            "row_rounds": self.order.row_rounds,
            **strides,
            "EARLIER": round_,
            "INCLUDE_SELF": int(self.include_self),
            "HEAD_DIM": head_dim,
            "BLOCK_D": padded(head_dim),
            "SUMS": SUM_TYPES[self.scale.dtype],
        }
