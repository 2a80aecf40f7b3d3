"""Hashing a few vectors at a time, again and again, as decoding does."""

from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops import backends
from revlm.ops.hashing import reference
from revlm.ops.hashing.rotations import bucket_factors


class HashOfFew:
    """`hash_buckets` with the same rotations each time, which are laid out once.

    Attributes:
        directions: of all rounds, side by side, those of a round's two factors one behind the other.
    """

    def __init__(self, rotations: Float[Tensor, "heads rounds head_dim directions"], n_buckets: int) -> None:
        self.rounds, self.factors = rotations.shape[1], bucket_factors(n_buckets)
        self.directions = reference.side_by_side(rotations)
        self._rotations, self._n_buckets = rotations, n_buckets

    def __call__(self, x: Float[Tensor, "heads tokens head_dim"]) -> Int[Tensor, "heads tokens rounds"]:
        """Returns the bucket of each vector in each round, int64."""
        if backends.chosen(x.device) == "triton":  # the kernel of whole sequences, whose rounding is not a product's
            module = backends.implementation("revlm.ops.hashing", x.device, x)
            return module.hash_buckets(x, self._rotations, self._n_buckets).transpose(1, 2).long()
        return reference.nearest(x, self.directions, self.rounds, self._n_buckets)
