"""Repeated hashing of a few vectors, for decoding."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops import backends
from revlm.ops.hashing import reference


class HashOfFew:
    """`hash_buckets` with fixed rotations, which are converted once.

    Attributes:
        directions: the rotations in float32.
        n_buckets: the number of buckets of each round.
    """

    def __init__(self, rotations: Float[Tensor, "heads head_dim directions"], n_buckets: Sequence[int]) -> None:
        self.directions, self.n_buckets = rotations.float().contiguous(), tuple(n_buckets)

    def __call__(self, x: Float[Tensor, "heads tokens head_dim"]) -> Int[Tensor, "heads tokens rounds"]:
        """Returns the bucket of each vector in each round, int64."""
        if backends.chosen(x.device) == "triton":  # the same kernel as for whole sequences, whose rounding differs
            module = backends.implementation("revlm.ops.hashing", x.device, x)
            return module.hash_buckets(x, self.directions, self.n_buckets).transpose(1, 2).long()
        return reference.nearest(x, self.directions, self.n_buckets)
