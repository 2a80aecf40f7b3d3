"""The forward pass: one launch per round, in which every query is processed once and adds this round's keys."""

from typing import no_type_check

import triton.language as tl
from torch import Tensor

from revlm.ops.attention.triton.gathering import queries_at, vectors
from revlm.ops.attention.triton.order import SortedOrder
from revlm.ops.attention.triton.tiling import forward_tiling
from revlm.ops.attention.triton.windows import LN_2, LOG2_E, seen_first_in_this_round
from revlm.ops.triton.launch import SUM_TYPES, Launch, blocks, kernel, padded
from revlm.ops.triton.product import product


def forward_launch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: Tensor,
    sink: Tensor | None,
    out: Tensor,
    state: Tensor,
    log_sum_exp: Tensor,
    order: SortedOrder,
    *,
    round_: int,
    include_self: bool,
    block: int,
) -> Launch:
    """Returns the launch of one round for some rows.

    `state` carries means in full precision from round to round; it may be `out`.
    """
    rows, queries, head_dim = q.shape
    tokens, rounds = order.token.shape[2], order.token.shape[1]
    tiling = forward_tiling(head_dim, q.dtype, block)
    arguments = {
        "q": q,
        "k": k,
        "v": v,
        "scale": scale,
        "sink": sink,
        "out": out,
        "state": state,
        "log_sum_exp": log_sum_exp,
        "token": order.token,
        "place": order.place,
        "first": order.first,
        "queries": queries,
        "tokens": tokens,
        "row_rounds": order.row_rounds,
        "q_row": q.stride(0),
        "q_token": q.stride(1),
        "k_row": k.stride(0),
        "k_token": k.stride(1),
        "v_row": v.stride(0),
        "v_token": v.stride(1),
        "EARLIER": round_,
        "IS_LAST": round_ == rounds - 1,
        "INCLUDE_SELF": int(include_self),
        "HEAD_DIM": head_dim,
        "BLOCK_D": padded(head_dim),
        "BLOCK_Q": tiling.queries,
        "BLOCK_K": tiling.keys,
        "SUMS": SUM_TYPES[scale.dtype],
    }
    return Launch(_forward, (blocks(tokens, tiling.queries), rows), arguments, tiling.options, is_tuned=True)


@kernel
@no_type_check
def _forward(
    q,
    k,
    v,
    scale,
    sink,
    out,
    state,
    log_sum_exp,
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
    factor = tl.load(scale + row) * LOG2_E
    of_query = row * queries + query
    mean_at = (of_query * HEAD_DIM)[:, None] + d[None, :]
    if EARLIER > 0:
        maximum = tl.load(log_sum_exp + of_query, mask=asked, other=0.0) * LOG2_E
        mean = tl.load(state + mean_at, mask=asked_2d, other=0.0).to(SUMS)
    else:
        mean = tl.zeros([BLOCK_Q, BLOCK_D], SUMS)
        if sink is None:
            maximum = tl.full([BLOCK_Q], float("-inf"), SUMS)
        else:
            maximum = tl.zeros([BLOCK_Q], SUMS) + tl.load(sink + row) * LOG2_E
    # The result so far acts as one key with this logit.
    weight_sum = tl.where(maximum == float("-inf"), 0.0, 1.0).to(SUMS)

    for key_start in range(tl.min(begin), block_end, BLOCK_K):
        key_place = key_start + tl.arange(0, BLOCK_K)
        in_block = key_place < block_end
        s = tl.load(token + own + key_place, mask=in_block, other=0)
        seen = seen_first_in_this_round(
            place, first, rounds_before, tokens, key_place, begin, count, t, s, EARLIER, INCLUDE_SELF, True
        )
        k_tile = vectors(k + row * k_row, k_token, s, in_block, HEAD_DIM, BLOCK_D)
        v_tile = vectors(v + row * v_row, v_token, s, in_block, HEAD_DIM, BLOCK_D)
        logits = tl.where(seen, product(q_tile, tl.trans(k_tile), SUMS) * factor, float("-inf"))
        new_maximum = tl.maximum(maximum, tl.max(logits, 1))
        # A finite value, so that -inf - maximum is not NaN where a query sees no key.
        finite = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
        weights = tl.exp2(logits - finite[:, None])
        kept = tl.exp2(maximum - finite)
        weight_sum = weight_sum * kept + tl.sum(weights, 1)
        mean = mean * kept[:, None] + product(weights.to(v_tile.dtype), v_tile, SUMS)
        maximum = new_maximum

    mean = mean / tl.where(weight_sum == 0.0, 1.0, weight_sum)[:, None]
    logarithm = (maximum + tl.log2(weight_sum)) * LN_2
    if IS_LAST:
        logarithm = tl.where(weight_sum == 0.0, float("inf"), logarithm)
        tl.store(out + mean_at, mean.to(out.dtype.element_ty), mask=asked_2d)
    else:
        tl.store(state + mean_at, mean.to(state.dtype.element_ty), mask=asked_2d)
    tl.store(log_sum_exp + of_query, logarithm, mask=asked)
