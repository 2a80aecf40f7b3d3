"""Which keys a query sees, for the kernels of both passes.

Logits are in base 2, the base of the GPU's exponential instruction.
"""

from typing import no_type_check

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
# Earlier rounds whose windows stay in registers; those of more would be spilled, and are loaded for each block of keys.
_UNROLLED = tl.constexpr(4)
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
@no_type_check
def seen_first_in_this_round(
    place,
    first,
    rounds_before,
    tokens,
    key_place,
    query_first,
    query_count,
    query_token,
    key_token,
    EARLIER: tl.constexpr,
    INCLUDE_SELF: tl.constexpr,
    QUERIES_DOWN: tl.constexpr,
):
    """Returns which pairs count in this round: the key is in the query's window, but in no earlier round's.

    A window is `query_count` places of the sorted order from `query_first` on. A key is in it if its unsigned distance
    from there, which wraps to a large number before it, is below the count. The result is [queries, keys], or
    [keys, queries] without `QUERIES_DOWN`.
    """
    count = query_count.to(tl.uint32, bitcast=True)
    if QUERIES_DOWN:
        seen = (key_place[None, :] - query_first[:, None]).to(tl.uint32, bitcast=True) < count[:, None]
    else:
        seen = (key_place[:, None] - query_first[None, :]).to(tl.uint32, bitcast=True) < count[None, :]
    if EARLIER <= _UNROLLED:
        for earlier in tl.static_range(EARLIER):
            at = (rounds_before + earlier) * tokens
            seen &= _outside_window(place + at, first + at, query_token, key_token, INCLUDE_SELF, QUERIES_DOWN)
    else:
        for earlier in range(EARLIER):
            at = (rounds_before + earlier) * tokens
            seen &= _outside_window(place + at, first + at, query_token, key_token, INCLUDE_SELF, QUERIES_DOWN)
    return seen


@triton.jit
@no_type_check
def _outside_window(place, first, query_token, key_token, INCLUDE_SELF: tl.constexpr, QUERIES_DOWN: tl.constexpr):
    """Returns which keys are not in the queries' windows in one round, to which `place` and `first` point."""
    begin, key_at = tl.load(first + query_token), tl.load(place + key_token)
    count = (tl.load(place + query_token) - begin + INCLUDE_SELF).to(tl.uint32, bitcast=True)
    if QUERIES_DOWN:
        outside = (key_at[None, :] - begin[:, None]).to(tl.uint32, bitcast=True) >= count[:, None]
    else:
        outside = (key_at[:, None] - begin[None, :]).to(tl.uint32, bitcast=True) >= count[None, :]
    return outside
