"""Angular locality-sensitive hashing with reproducible rotations.

`hash(x) = argmax([xR; -xR])` with a random R (Andoni et al., arXiv 1509.02897, section 3). For many buckets the hash is
the pair of two smaller ones, so that no [tokens, n_buckets] tensor exists.
"""

from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops import backends
from revlm.ops.hashing.few import HashOfFew
from revlm.ops.hashing.rotations import bucket_factors, draw_rotations

__all__ = ["HashOfFew", "bucket_factors", "draw_rotations", "hash_buckets"]


def hash_buckets(
    x: Float[Tensor, "heads tokens head_dim"],
    rotations: Float[Tensor, "heads rounds head_dim directions"],
    n_buckets: int,
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns the bucket of each vector in each round, int32 in 0..n_buckets-1; computed in float32 for any dtype."""
    return backends.implementation(__name__, x.device, x).hash_buckets(x, rotations, n_buckets)
