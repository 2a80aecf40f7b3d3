"""What the kernels of both passes load through the sorted order: a block of queries, and a block of vectors."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def queries_at(at, exists, end, token, first, tokens, queries, INCLUDE_SELF: tl.constexpr):
    """Returns what stands at some places of one order, and the window of each query there.

    `token` and `first` begin at the row and round; a token stands at the places that exist, which lie before `end`. The
    results are the tokens; their numbers among the queries; whether there is such a query; and where its window begins
    and how many places it has: none, from `end` on, where there is no query.
    """
    t = tl.load(token + at, mask=exists, other=0)
    query = t - (tokens - queries)
    asked = exists & (query >= 0)
    begin = tl.load(first + t, mask=asked, other=end)
    count = tl.where(asked, at - begin + INCLUDE_SELF, 0)
    return t, query, asked, begin, count


@triton.jit
@no_type_check
def vectors(x, stride, at, exists, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr):
    """Returns the vectors of one row of x at some tokens, zero where none exists and beyond the head's width."""
    d = tl.arange(0, BLOCK_D)
    inside = exists[:, None] & (d < HEAD_DIM)[None, :]
    return tl.load((x + at.to(tl.int64) * stride)[:, None] + d[None, :], mask=inside, other=0.0)
