"""The gradients of keys and values: one launch per round, in which every key is processed once."""

from typing import no_type_check

import triton.language as tl
from torch import Tensor

from revlm.ops.attention.triton.backward import Given
from revlm.ops.attention.triton.gathering import queries_at, vectors
from revlm.ops.attention.triton.tiling import key_tiling
from revlm.ops.attention.triton.windows import LOG2_E, seen_first_in_this_round
from revlm.ops.triton.launch import Launch, blocks, kernel
from revlm.ops.triton.product import product


def key_launch(given: Given, d_k: Tensor, d_v: Tensor, *, round_: int, add_to_d_k: bool) -> Launch:
    """Returns the launch that adds one round to the gradients of keys and values.

    `add_to_d_k` says whether `d_k` already holds gradients in the first round: those of queries that are keys.
    """
    rows, _, head_dim = given.k.shape
    tokens = given.order.token.shape[2]
    tiling = key_tiling(head_dim, given.k.dtype, given.block)
    arguments = {
        **given.arguments(round_),
        "last": given.order.last,
        "d_k": d_k,
        "d_v": d_v,
        "ADD_TO_D_K": add_to_d_k or round_ > 0,
        "BLOCK_Q": tiling.queries,
        "BLOCK_K": tiling.keys,
    }
    return Launch(_key_gradients, (blocks(tokens, tiling.keys), rows), arguments, tiling.options, is_tuned=True)


@kernel
@no_type_check
def _key_gradients(
    q,
    k,
    v,
    scale,
    log_sum_exp,
    d_out,
    delta,
    token,
    place,
    first,
    queries,
    tokens,
    row_rounds,
    q_row,
    q_token,
    k_row,
    k_token,
    v_row,
    v_token,
    d_out_row,
    d_out_token,
    last,
    d_k,
    d_v,
    EARLIER: tl.constexpr,
    ADD_TO_D_K: tl.constexpr,
    INCLUDE_SELF: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SUMS: tl.constexpr,
):
    """Processes a block of keys, consecutive in this round's order, and the queries up to the last that sees one."""
    row = tl.program_id(1).to(tl.int64)
    rounds_before = row * row_rounds
    own = (rounds_before + EARLIER) * tokens
    block_start = tl.program_id(0) * BLOCK_K
    key_place = block_start + tl.arange(0, BLOCK_K)
    exists = key_place < tokens
    s = tl.load(token + own + key_place, mask=exists, other=0)
    query_end = tl.max(tl.load(last + own + s, mask=exists, other=-1)) + 1

    d = tl.arange(0, BLOCK_D)
    exists_2d = exists[:, None] & (d < HEAD_DIM)[None, :]
    k_tile = vectors(k + row * k_row, k_token, s, exists, HEAD_DIM, BLOCK_D)
    v_tile = vectors(v + row * v_row, v_token, s, exists, HEAD_DIM, BLOCK_D)
    factor = tl.load(scale + row)
    k_gradient = tl.zeros([BLOCK_K, BLOCK_D], SUMS)
    v_gradient = tl.zeros([BLOCK_K, BLOCK_D], SUMS)

    # A block's tokens are loaded one block ahead: all its other loads depend on them, and then start at once.
    next_at = block_start + tl.arange(0, BLOCK_Q)
    next_t = tl.load(token + own + next_at, mask=next_at < query_end, other=0)
    for query_start in range(block_start, query_end, BLOCK_Q):
        at, t = query_start + tl.arange(0, BLOCK_Q), next_t
        next_t = tl.load(token + own + at + BLOCK_Q, mask=at + BLOCK_Q < query_end, other=0)
        query, asked, begin, count = queries_at(
            at, t, at < query_end, query_end, first + own, tokens, queries, INCLUDE_SELF
        )
        q_tile = vectors(q + row * q_row, q_token, query, asked, HEAD_DIM, BLOCK_D)
        d_out_tile = vectors(d_out + row * d_out_row, d_out_token, query, asked, HEAD_DIM, BLOCK_D)
        of_query = row * queries + query
        logarithm = tl.load(log_sum_exp + of_query, mask=asked, other=float("inf")) * LOG2_E
        along = tl.load(delta + of_query, mask=asked, other=0.0)
        seen = seen_first_in_this_round(
            place, first, rounds_before, tokens, key_place, begin, count, t, s, EARLIER, INCLUDE_SELF, False
        )
        logits = product(k_tile, tl.trans(q_tile), SUMS) * (factor * LOG2_E)
        weights = tl.where(seen, tl.exp2(logits - logarithm[None, :]), 0.0)
        v_gradient += product(weights.to(d_out_tile.dtype), d_out_tile, SUMS)
        d_logits = weights * (product(v_tile, tl.trans(d_out_tile), SUMS) - along[None, :])
        k_gradient += product(d_logits.to(q_tile.dtype), q_tile, SUMS)

    k_gradient *= factor
    vector_at = ((row * tokens + s) * HEAD_DIM)[:, None] + d[None, :]
    if ADD_TO_D_K:
        k_gradient += tl.load(d_k + vector_at, mask=exists_2d, other=0.0).to(SUMS)
    if EARLIER > 0:
        v_gradient += tl.load(d_v + vector_at, mask=exists_2d, other=0.0).to(SUMS)
    tl.store(d_k + vector_at, k_gradient.to(d_k.dtype.element_ty), mask=exists_2d)
    tl.store(d_v + vector_at, v_gradient.to(d_v.dtype.element_ty), mask=exists_2d)
