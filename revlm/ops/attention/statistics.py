"""How well the buckets of a hash layer are used: a layer that nobody uses must be visible."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class BucketStatistics(NamedTuple):
    """Shares between 0 and 1, over all rows and positions.

    `bucket_fill` is the mean of |S_r(t)| / window over the rounds; `empty_query_share` is the share of positions
    whose S(t), the union over the rounds, is empty.
    """

    bucket_fill: float
    empty_query_share: float


def bucket_statistics(bucket: Int[Tensor, "rows rounds tokens"], window: int) -> BucketStatistics:
    """Returns the use of buckets by a layer that does not include the token itself."""
    rows, rounds, tokens = bucket.shape
    position = torch.arange(tokens, device=bucket.device)
    one = torch.ones((), dtype=torch.float64, device=bucket.device).expand(tokens)
    n_numbers = int(bucket.max()) + 1
    # Many documents have many numbers, most of which stand for no token: those in use are then counted through, for
    # which CUDA waits each time.
    are_sparse = n_numbers > tokens
    # Counted on the device of the buckets and read once: on CUDA, every number that is read waits for all work.
    visible, empty = torch.zeros_like(one[0]), torch.zeros_like(position[0])
    for row in range(rows):
        never_met = torch.ones(tokens, dtype=torch.bool, device=bucket.device)
        for number in bucket[row].long():
            bucket_of = number.unique(return_inverse=True)[1] if are_sparse else number
            size = one.new_zeros(min(n_numbers, tokens)).scatter_add_(0, bucket_of, one)
            # The i-th member of a bucket (from 0) sees min(i, window) earlier ones; summed over a bucket of this size:
            full = size.clamp(max=window)
            visible += (full * (full - 1) / 2 + (size - full) * window).sum()
            first = torch.full_like(size, tokens, dtype=torch.int64)
            first.scatter_reduce_(0, bucket_of, position, reduce="amin")
            never_met &= first[bucket_of] == position
        empty += never_met.sum()
    return BucketStatistics(float(visible) / (rows * rounds * tokens * window), int(empty) / (rows * tokens))
