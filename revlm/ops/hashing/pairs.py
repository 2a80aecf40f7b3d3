"""Hashes of pairs: the bucket of a token tells its own hash and that of the token before it.

The bucket of a round is `n2 * first + second`, two smaller hashes (`bucket_factors`). Of a pair, the first is the hash
of the token and the second that of its predecessor, so tokens meet that are alike and follow tokens that are alike. In
texts such tokens are fewer, so the window of a bucket reaches further back.
"""

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from revlm.ops.hashing.rotations import bucket_factors


def pair_hashes(
    hashes: Int[Tensor, "heads rounds tokens"],
    n_buckets: Sequence[int],
    pair_rounds: int,
    starts: Int[Tensor, "documents"] | None = None,
) -> Int[Tensor, "heads rounds tokens"]:
    """Writes the pairs over the hashes in the last `pair_rounds` rounds, and returns the hashes.

    `n_buckets` is the number of buckets of each round, `starts` the position of the first token of each document
    (None: all tokens are one document's). A first token has 0 in place of its predecessor's hash.
    """
    for round_ in range(len(n_buckets) - pair_rounds, len(n_buckets)):
        of_round = hashes[:, round_]
        second = of_round % bucket_factors(n_buckets[round_])[1]
        of_round -= second
        if starts is not None:
            second[:, starts[1:] - 1] = 0
        of_round[:, 1:] += second[:, :-1]
    return hashes
