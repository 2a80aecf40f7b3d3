"""The sorted order of a row's buckets, in which every window is a contiguous band."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class BucketOrder(NamedTuple):
    """The order of one row, for all of its rounds.

    `token[r, i]` is the position at index i of the sorted order; `sorted_at[r, t]` is the sorted index of position t;
    `place[r, t] = sorted index + (window + 1) * dense number of the bucket`, so that s is in S_r(t) if and only if
    `0 < place[r, t] - place[r, s] <= window` (`0 <= ... < window` if the token itself is included).
    """

    token: Int[Tensor, "rounds tokens"]
    sorted_at: Int[Tensor, "rounds tokens"]
    place: Int[Tensor, "rounds tokens"]


def bucket_order(bucket: Int[Tensor, "rounds tokens"], window: int) -> BucketOrder:
    """Returns the order of one row by (bucket, position), by one stable sort per round."""
    tokens = bucket.shape[-1]
    sorted_bucket, token = torch.sort(bucket, dim=-1, stable=True)
    index = torch.arange(tokens, device=bucket.device).expand_as(token)
    sorted_at = torch.empty_like(token).scatter_(-1, token, index)
    bucket_starts = torch.zeros_like(token)
    bucket_starts[:, 1:] = sorted_bucket[:, 1:] != sorted_bucket[:, :-1]
    sorted_place = bucket_starts.cumsum_(-1).mul_(window + 1).add_(index)
    return BucketOrder(token, sorted_at, sorted_place.gather(-1, sorted_at))
