"""The gradients of the queries: one launch per round, in which every query is processed once."""

from typing import no_type_check

import triton.language as tl
from torch import Tensor

from revlm.ops.attention.triton.backward import Given
from revlm.ops.attention.triton.gathering import queries_at, vectors
from revlm.ops.attention.triton.tiling import query_tiling
from revlm.ops.attention.triton.windows import LOG2_E, seen_first_in_this_round
from revlm.ops.triton.launch import Launch, blocks, kernel
from revlm.ops.triton.product import product


def query_launch(given: Given, out: Tensor | None, d_q: Tensor, d_scale: Tensor, *, round_: int) -> Launch:
    """Returns the launch that adds one round to the gradients of the queries.

    The first round fills `given.delta`, or reads it where there is no `out`. The last round writes each query's
    contribution to `d_scale`.
    """
    rows, _, head_dim = given.q.shape
    tokens, rounds = given.order.token.shape[2], given.order.token.shape[1]
    tiling = query_tiling(head_dim, given.q.dtype, given.block)
    arguments = {
        **given.arguments(round_),
        "out": out,
        "d_q": d_q,
        "d_scale": d_scale,
        "IS_LAST": round_ == rounds - 1,
        "BLOCK_Q": tiling.queries,
        "BLOCK_K": tiling.keys,
    }
    return Launch(_query_gradients, (blocks(tokens, tiling.queries), rows), arguments, tiling.options, is_tuned=True)


@kernel
@no_type_check
def _query_gradients(
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
    out,
    d_q,
    d_scale,
    EARLIER: tl.constexpr,
    IS_LAST: tl.constexpr,
    INCLUDE_SELF: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SUMS: tl.constexpr,
):
    """Processes a block of queries, consecutive in this round's order, and the keys from its first window on."""
    row = tl.program_id(1).to(tl.int64)
    rounds_before = row * row_rounds
    own = (rounds_before + EARLIER) * tokens
    block_start = tl.program_id(0) * BLOCK_Q
    block_end = tl.minimum(block_start + BLOCK_Q, tokens)
    at = block_start + tl.arange(0, BLOCK_Q)
    t = tl.load(token + own + at, mask=at < tokens, other=0)
    query, asked, begin, count = queries_at(at, t, at < tokens, block_end, first + own, tokens, queries, INCLUDE_SELF)

    d = tl.arange(0, BLOCK_D)
    asked_2d = asked[:, None] & (d < HEAD_DIM)[None, :]
    q_tile = vectors(q + row * q_row, q_token, query, asked, HEAD_DIM, BLOCK_D)
    d_out_tile = vectors(d_out + row * d_out_row, d_out_token, query, asked, HEAD_DIM, BLOCK_D)
    factor = tl.load(scale + row)
    of_query = row * queries + query
    vector_at = (of_query * HEAD_DIM)[:, None] + d[None, :]
    logarithm = tl.load(log_sum_exp + of_query, mask=asked, other=float("inf")) * LOG2_E
    if EARLIER > 0 or out is None:
        along = tl.load(delta + of_query, mask=asked, other=0.0)
    else:
        out_tile = tl.load(out + vector_at, mask=asked_2d, other=0.0)
        along = tl.sum(out_tile.to(SUMS) * d_out_tile.to(SUMS), 1)
        tl.store(delta + of_query, along, mask=asked)
    if EARLIER > 0:
        gradient = tl.load(d_q + vector_at, mask=asked_2d, other=0.0).to(SUMS)
    else:
        gradient = tl.zeros([BLOCK_Q, BLOCK_D], SUMS)

    for key_start in range(tl.min(begin), block_end, BLOCK_K):
        key_place = key_start + tl.arange(0, BLOCK_K)
        in_block = key_place < block_end
        s = tl.load(token + own + key_place, mask=in_block, other=0)
        k_tile = vectors(k + row * k_row, k_token, s, in_block, HEAD_DIM, BLOCK_D)
        v_tile = vectors(v + row * v_row, v_token, s, in_block, HEAD_DIM, BLOCK_D)
        seen = seen_first_in_this_round(
            place, first, rounds_before, tokens, key_place, begin, count, t, s, EARLIER, INCLUDE_SELF, True
        )
        logits = product(q_tile, tl.trans(k_tile), SUMS) * (factor * LOG2_E)
        weights = tl.where(seen, tl.exp2(logits - logarithm[:, None]), 0.0)
        d_logits = weights * (product(d_out_tile, tl.trans(v_tile), SUMS) - along[:, None])
        gradient += product(d_logits.to(k_tile.dtype), k_tile, SUMS)

    if IS_LAST:
        tl.store(d_scale + of_query, tl.sum(gradient * q_tile.to(SUMS), 1), mask=asked)
        gradient *= factor
    tl.store(d_q + vector_at, gradient.to(d_q.dtype.element_ty), mask=asked_2d)
