"""Statistics of a hash layer's buckets, which show a layer that is not used."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Elements of a tensor over several rows: on CUDA the fewer launches count, on a CPU what fits into its caches.
_ELEMENTS = {"cuda": 2**22, "cpu": 0}


class BucketStatistics(NamedTuple):
    """Shares between 0 and 1, averaged over all rows and positions: numbers in float64 on the buckets' device.

    `bucket_fill` is the mean of |S_r(t)| / window over the rounds; `empty_query_share` is the share of positions
    whose S(t), the union over the rounds, is empty.
    """

    bucket_fill: Float[Tensor, ""]
    empty_query_share: Float[Tensor, ""]


def bucket_statistics(
    bucket: Int[Tensor, "rows rounds tokens"], window: int, n_numbers: int | None = None
) -> BucketStatistics:
    """Returns the statistics of a layer that does not include the token itself.

    Bucket numbers are below `n_numbers`; without it the largest is read, and reading synchronizes CUDA. So does a
    renumbering where there may be more numbers than tokens, as with many documents, of whose numbers most are unused.
    """
    rows, rounds, tokens = bucket.shape
    if n_numbers is None:
        n_numbers = int(bucket.max()) + 1
    position = torch.arange(tokens, device=bucket.device)
    one = torch.ones((), dtype=torch.float64, device=bucket.device)
    visible, empty = torch.zeros_like(one), torch.zeros_like(one)
    for some in bucket.split(max(1, _ELEMENTS[bucket.device.type] // tokens)):
        always_empty = torch.ones(len(some), tokens, dtype=torch.bool, device=bucket.device)
        for number in some.long().unbind(1):
            bucket_of = number.unique(return_inverse=True)[1] if n_numbers > tokens else number
            size = one.new_zeros(len(some), min(n_numbers, bucket_of.numel()))
            size.scatter_add_(1, bucket_of, one.expand_as(bucket_of))
            # The i-th member of a bucket (from 0) sees min(i, window) earlier ones; summed over a bucket of this size:
            full = size.clamp(max=window)
            visible += (full * (full - 1) / 2 + (size - full) * window).sum()
            first = torch.full_like(size, tokens, dtype=torch.int64)
            first.scatter_reduce_(1, bucket_of, position.expand_as(bucket_of), reduce="amin")
            always_empty &= first.gather(1, bucket_of) == position
        empty += always_empty.sum()
    return BucketStatistics(visible / (rows * rounds * tokens * window), empty / (rows * tokens))
