"""Statistics of a hash layer's buckets, which show a layer that is not used."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class BucketStatistics(NamedTuple):
    """Shares between 0 and 1, averaged over all rows and positions.

    `bucket_fill` is the mean of |S_r(t)| / window over the rounds; `empty_query_share` is the share of positions
    whose S(t), the union over the rounds, is empty.
    """

    bucket_fill: float
    empty_query_share: float


def bucket_statistics(bucket: Int[Tensor, "rows rounds tokens"], window: int) -> BucketStatistics:
    """Returns the statistics of a layer that does not include the token itself."""
    rows, rounds, tokens = bucket.shape
    position = torch.arange(tokens, device=bucket.device)
    one = torch.ones((), dtype=torch.float64, device=bucket.device).expand(tokens)
    n_numbers = int(bucket.max()) + 1
    # With many documents most bucket numbers are unused, so those in use are renumbered, which synchronizes CUDA.
    are_sparse = n_numbers > tokens
    # Counted on the device and read once: on CUDA every read synchronizes.
    visible, empty = torch.zeros_like(one[0]), torch.zeros_like(position[0])
    for row in range(rows):
        always_empty = torch.ones(tokens, dtype=torch.bool, device=bucket.device)
        for number in bucket[row].long():
            bucket_of = number.unique(return_inverse=True)[1] if are_sparse else number
            size = one.new_zeros(min(n_numbers, tokens)).scatter_add_(0, bucket_of, one)
            # The i-th member of a bucket (from 0) sees min(i, window) earlier ones; summed over a bucket of this size:
            full = size.clamp(max=window)
            visible += (full * (full - 1) / 2 + (size - full) * window).sum()
            first = torch.full_like(size, tokens, dtype=torch.int64)
            first.scatter_reduce_(0, bucket_of, position, reduce="amin")
            always_empty &= first[bucket_of] == position
        empty += always_empty.sum()
    return BucketStatistics(float(visible) / (rows * rounds * tokens * window), int(empty) / (rows * tokens))
