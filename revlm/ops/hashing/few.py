"""Repeated hashing of a few vectors, for decoding."""

from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops import backends
from revlm.ops.hashing import reference
from revlm.ops.hashing.rotations import bucket_factors


class HashOfFew:
    """`hash_buckets` with fixed rotations, which are laid out once.

    Attributes:
        directions: the directions of all rounds, concatenated; within a round, those of the first factor come first.
    """

    def __init__(self, rotations: Float[Tensor, "heads rounds head_dim directions"], n_buckets: int) -> None:
        self.rounds, self.factors = rotations.shape[1], bucket_factors(n_buckets)
        self.directions = reference.side_by_side(rotations)
        self._rotations, self._n_buckets = rotations, n_buckets

    def __call__(self, x: Float[Tensor, "heads tokens head_dim"]) -> Int[Tensor, "heads tokens rounds"]:
        """Returns the bucket of each vector in each round, int64."""
        if backends.chosen(x.device) == "triton":  # the same kernel as for whole sequences, whose rounding differs
            module = backends.implementation("revlm.ops.hashing", x.device, x)
            return module.hash_buckets(x, self._rotations, self._n_buckets).transpose(1, 2).long()
        return reference.nearest(x, self.directions, self.rounds, self._n_buckets)
