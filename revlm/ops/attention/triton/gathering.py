"""Loads through the sorted order for the kernels of both passes: a block of queries, and a block of vectors."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def queries_at(at, t, exists, end, first, tokens, queries, INCLUDE_SELF: tl.constexpr):
    """Returns the window of each query at some places of one order, whose tokens are `t`.

    `first` points to the row and round; places that exist are before `end`. The results are the tokens' indices among
    the queries; whether the query exists; and the start and size of its window, `end` and 0 where there is no query.
    """
    query = t - (tokens - queries)
    asked = exists & (query >= 0)
    begin = tl.load(first + t, mask=asked, other=end)
    count = tl.where(asked, at - begin + INCLUDE_SELF, 0)
    return query, asked, begin, count


@triton.jit
@no_type_check
def vectors(x, stride, at, exists, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr):
    """Returns the vectors of one row of x at some tokens, zero where none exists and beyond head_dim."""
    d = tl.arange(0, BLOCK_D)
    inside = exists[:, None] & (d < HEAD_DIM)[None, :]
    return tl.load((x + at.to(tl.int64) * stride)[:, None] + d[None, :], mask=inside, other=0.0)
