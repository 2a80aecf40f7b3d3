"""Angular locality-sensitive hashing with reproducible rotations.

`hash(x) = argmax([xR; -xR])` with a random R (Andoni et al., arXiv 1509.02897, section 3). For many buckets the hash is
the pair of two smaller ones, so that no [tokens, n_buckets] tensor exists.
"""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops import backends
from revlm.ops.hashing.few import HashOfFew
from revlm.ops.hashing.pairs import pair_hashes
from revlm.ops.hashing.rotations import bucket_factors, directions_of, draw_rotations, rounds_alike

__all__ = [
    "HashOfFew",
    "bucket_factors",
    "directions_of",
    "draw_rotations",
    "hash_buckets",
    "pair_hashes",
    "rounds_alike",
]


def hash_buckets(
    x: Float[Tensor, "heads tokens head_dim"],
    rotations: Float[Tensor, "heads head_dim directions"],
    n_buckets: Sequence[int],
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns the bucket of each vector in each round, int32; computed in float32 for any dtype.

    `n_buckets` is the number of buckets of each round, and `rotations` are the directions of `draw_rotations` for them;
    the buckets of round r are in 0..n_buckets[r]-1.
    """
    if rotations.shape[2] != (directions := directions_of(n_buckets)):  # in C++ an error would read out of bounds
        raise UsageError(f"rotations has {rotations.shape[2]} directions and not {directions}, those of {n_buckets}")
    return backends.implementation(__name__, x.device, x).hash_buckets(x, rotations, n_buckets)
