"""The sorted order of a row's buckets, in which every window is a contiguous band."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class BucketOrder(NamedTuple):
    """The order of one row, for all of its rounds.

    `token[r, i]` is the position that stands at sorted place i; `sorted_at[r, t]` is the sorted place of position t;
    `place[r, t] = sorted place + (window + 1) * dense number of the bucket`, so that s lies in S_r(t) exactly when
    `0 < place[r, t] - place[r, s] <= window` (`0 <= ... < window` where the token itself is included).
    """

    token: Int[Tensor, "rounds tokens"]
    sorted_at: Int[Tensor, "rounds tokens"]
    place: Int[Tensor, "rounds tokens"]


def bucket_order(bucket: Int[Tensor, "rounds tokens"], window: int) -> BucketOrder:
    """Returns the order of one row by (bucket, position): one stable sort a round."""
    tokens = bucket.shape[-1]
    sorted_bucket, token = torch.sort(bucket, dim=-1, stable=True)
    index = torch.arange(tokens, device=bucket.device).expand_as(token)
    sorted_at = torch.empty_like(token).scatter_(-1, token, index)
    bucket_starts = torch.zeros_like(token)
    bucket_starts[:, 1:] = sorted_bucket[:, 1:] != sorted_bucket[:, :-1]
    sorted_place = bucket_starts.cumsum_(-1).mul_(window + 1).add_(index)
    return BucketOrder(token, sorted_at, sorted_place.gather(-1, sorted_at))
