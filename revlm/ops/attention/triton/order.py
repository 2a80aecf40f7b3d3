"""The sorted order of buckets on the device, and the bounds of every window in it."""

from collections.abc import Iterator
from typing import NamedTuple, no_type_check

import torch
import triton.language as tl
from jaxtyping import Int
from torch import Tensor

from revlm.ops.triton.launch import Launch, blocks, kernel

_BLOCK = 256


class SortedOrder(NamedTuple):
    """The order of each row (one row if all share their buckets) and round, int32 [rows, rounds, tokens].

    `token[i]` is the token at place i of the order by (bucket, position), `place[t]` the place of token t. The window
    of t is the places from `first[t]` up to `place[t]`, inclusive or not; `last[t]` is the last place that sees t.
    """

    token: Int[Tensor, "order_rows rounds tokens"]
    place: Int[Tensor, "order_rows rounds tokens"]
    first: Int[Tensor, "order_rows rounds tokens"]
    last: Int[Tensor, "order_rows rounds tokens"]

    @property
    def row_rounds(self) -> int:
        """The stride between rows, in rounds: 0 where rows share their buckets."""
        return 0 if self.token.shape[0] == 1 else self.token.shape[1]


def sorted_orders(
    bucket: Int[Tensor, "rows rounds tokens"], group: int, window: int, include_self: bool
) -> Iterator[tuple[slice, SortedOrder]]:
    """Yields groups of rows with their order; rows that share their buckets (stride 0) share the order."""
    rows, order = bucket.shape[0], None
    shared = bucket.stride(0) == 0
    for start in range(0, rows, group):
        span = slice(start, min(start + group, rows))
        if order is None or not shared:
            order = None  # frees its memory first
            order = sorted_order(bucket[:1] if shared else bucket[span], window, include_self)
        yield span, order


def sorted_order(bucket: Int[Tensor, "rows rounds tokens"], window: int, include_self: bool) -> SortedOrder:
    """Returns the order of each row, by one stable sort per round."""
    sorted_bucket, sorted_token = torch.sort(bucket.to(torch.int32).contiguous(), dim=-1, stable=True)
    order = SortedOrder(*(torch.empty_like(sorted_bucket) for _ in range(4)))
    order_launch(sorted_bucket, sorted_token, order, window - include_self).run()
    return order


def order_launch(sorted_bucket: Tensor, sorted_token: Tensor, order: SortedOrder, reach: int) -> Launch:
    """Returns the launch that finds windows: `reach` places backwards and forwards, within the bucket."""
    tokens = sorted_bucket.shape[-1]
    arguments = {
        "sorted_bucket": sorted_bucket,
        "sorted_token": sorted_token,
        **order._asdict(),
        "tokens": tokens,
        "reach": reach,
        "steps": min(reach, tokens).bit_length(),
        "BLOCK": _BLOCK,
    }
    return Launch(_order, (sorted_bucket.shape[0] * sorted_bucket.shape[1] * blocks(tokens, _BLOCK),), arguments, {})


@kernel
@no_type_check
def _order(sorted_bucket, sorted_token, token, place, first, last, tokens, reach, steps, BLOCK: tl.constexpr):
    """Finds both window bounds for a block of places by bisection, since a bucket's places are contiguous."""
    blocks_of_row = tl.cdiv(tokens, BLOCK)
    row = (tl.program_id(0) // blocks_of_row).to(tl.int64) * tokens
    at = tl.program_id(0) % blocks_of_row * BLOCK + tl.arange(0, BLOCK)
    exists = at < tokens
    own = tl.load(sorted_bucket + row + at, mask=exists, other=-1)
    t = tl.load(sorted_token + row + at, mask=exists, other=0).to(tl.int32)
    outside, begin = tl.maximum(at - reach, 0), at
    end, beyond = at, tl.minimum(at + reach, tokens - 1)
    for _ in range(steps):
        middle = (outside + begin) // 2
        same = tl.load(sorted_bucket + row + middle, mask=exists, other=-1) == own
        outside, begin = tl.where(same, outside, middle + 1), tl.where(same, middle, begin)
        middle = (end + beyond + 1) // 2
        same = tl.load(sorted_bucket + row + middle, mask=exists, other=-1) == own
        end, beyond = tl.where(same, middle, end), tl.where(same, beyond, middle - 1)
    tl.store(token + row + at, t, mask=exists)
    tl.store(place + row + t, at, mask=exists)
    tl.store(first + row + t, begin, mask=exists)
    tl.store(last + row + t, end, mask=exists)
