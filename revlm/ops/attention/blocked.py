"""Bucketed window attention in blocks of the sorted order, in plain PyTorch on any device.

Time is linear in the tokens: a block of B queries attends to its own B keys and the W before them. Rows and rounds are
processed one at a time in buffers of [tokens, head_dim] and [blocks, B, B + W]; no tensor of rounds x tokens x d_model
or tokens x W elements exists. Products and sums are in float32 (float64 for float64 inputs). The backward pass
recomputes the weights from the saved log-sum-exp and gathers gradients into token order, which is deterministic.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops.attention.arguments import Arguments, CallSizes, Delta
from revlm.ops.attention.order import BucketOrder, bucket_order

# Logits processed at once: 2 MiB in float32, so that repeated passes over them hit the cache.
_CHUNK_ELEMENTS = 2**19


def takes(arguments: Arguments) -> bool:
    """Returns whether the backend supports the arguments; it supports any."""
    return True


def takes_head_dim(head_dim: int) -> bool:
    """Returns whether the backend supports the head_dim; it supports any."""
    return True


def attention_with_log_sum_exp(
    q: Float[Tensor, "rows queries head_dim"],
    k: Float[Tensor, "rows tokens head_dim"],
    v: Float[Tensor, "rows tokens head_dim"],
    bucket: Int[Tensor, "rows rounds tokens"],
    *,
    window: int,
    scale: Float[Tensor, "rows"],
    sink: Float[Tensor, "rows"] | None,
    include_self: bool,
    block: int,
    may_overwrite: bool,
    delta: Delta | None,
) -> tuple[Float[Tensor, "rows queries head_dim"], Float[Tensor, "rows queries"]]:
    """Returns the result of `reference.attention_with_log_sum_exp`, in time linear in the tokens."""
    out, log_sum_exp = _BlockedAttention.apply(q, k, v, scale, sink, bucket, window, include_self, block, delta)
    return out, log_sum_exp


def workspace_bytes(sizes: CallSizes) -> int:
    """Returns the peak of the bytes that one call holds besides its inputs, results and gradients.

    It does not depend on the rows, which are processed one at a time, nor on whether queries are keys. It assumes that
    `delta` is given.
    """
    _, tokens, head_dim, rounds, window, block, element_bytes, backward, _ = sizes
    size = max(element_bytes, 4)
    reach = -(-window // block) * block
    queries, width = -(-tokens // block) * block, block + reach
    place_size = 4 if 2 * (tokens + (window + 1) * (tokens + 1)) < 2**31 else 8
    chunk = max(1, min(queries // block, _CHUNK_ELEMENTS // (block * width)))
    pairs, chunk_keys, row = chunk * block * width, chunk * width * head_dim * size, tokens * head_dim * size
    # Keys, values and places of `_Blocks`; its logits, distances and, beyond one round, nearest distances.
    held = 2 * (queries + reach) * head_dim * size + rounds * (queries + reach) * place_size
    held += pairs * (size + place_size * min(rounds, 2))
    # The order of this row, and that of the previous row, which still exists while this one is sorted.
    held += 2 * 3 * 8 * rounds * tokens
    mask = pairs * min(rounds, 2)
    if not backward:
        held += 2 * queries * head_dim * size + queries * size
        # Means in token order: of the earlier rounds, of the latest one, and their merged result while it is computed.
        kept = min(max(rounds - 1, 1), 2)
        return held + kept * (row + tokens * size) + max(row, 4 * tokens * size, mask, chunk_keys)
    held += 3 * queries * head_dim * size + 2 * (queries + reach) * head_dim * size + 2 * queries * size
    held += 3 * tokens * size + pairs * size
    # Gradients in token order, three per round: when a row begins, those of the previous row and vectors that are being
    # sorted; when a round ends, the sums so far, the round's and their new sums, and one of the previous row.
    row_begins = (3 if rounds == 1 else 6) + 1
    round_ends = {1: 6, 2: 7}.get(rounds, 10)
    during_chunks = (round_ends - 3) * row + max(mask, pairs * size + chunk_keys)
    return held + max(row_begins * row, round_ends * row, during_chunks)


class _Blocks:
    """The keys of one row and round in sorted order, split into overlapping blocks, with the mask of each block.

    All buffers are reused across rounds and rows.
    """

    def __init__(self, k: Tensor, rounds: int, window: int, include_self: bool, block: int) -> None:
        self.tokens, self.head_dim = k.shape[1], k.shape[2]
        self.window = window
        self.include_self = include_self
        self.block = block
        self.count = -(-self.tokens // self.block)
        # The reach of the keys is whole blocks, so that gradients of overlapping blocks are added as shifted views.
        self.reach = -(-self.window // self.block) * self.block
        self.width = self.block + self.reach
        self.dtype = torch.promote_types(k.dtype, torch.float32)
        self.chunk = max(1, min(self.count, _CHUNK_ELEMENTS // (self.block * self.width)))
        self.k, self.v = self.sorted_keys(k), self.sorted_keys(k)
        # Twice the largest place must fit: see `select`.
        fits = 2 * (self.tokens + (self.window + 1) * (self.tokens + 1)) < 2**31
        self.place_dtype = torch.int32 if fits else torch.int64
        self.place = torch.empty(rounds, self.reach + self.count * self.block, dtype=self.place_dtype, device=k.device)
        pairs = (self.chunk, self.block, self.width)
        self._logits = torch.empty(pairs, dtype=self.dtype, device=k.device)
        self._distance = torch.empty(pairs, dtype=self.place_dtype, device=k.device)
        self._nearest = torch.empty(pairs if rounds > 1 else 0, dtype=self.place_dtype, device=k.device)

    def sorted_queries(self, like: Tensor, *shape: int) -> Tensor:
        """Returns a zeroed buffer for one row's queries in sorted order, padded to whole blocks."""
        return torch.zeros(self.count * self.block, *shape, dtype=self.dtype, device=like.device)

    def sorted_keys(self, like: Tensor) -> Tensor:
        """Returns a zeroed buffer for one row's keys in sorted order, preceded by the reach of the first block."""
        return torch.zeros(self.reach + self.count * self.block, self.head_dim, dtype=self.dtype, device=like.device)

    def gather(self, sorted_buffer: Tensor, source: Tensor, order: Tensor) -> None:
        """Fills a sorted buffer (of keys or queries) with the rows of `source`; the padding stays zero."""
        start = sorted_buffer.shape[0] - self.count * self.block
        sorted_buffer[start : start + self.tokens] = source.index_select(0, order)

    def scattered(self, sorted_buffer: Tensor, sorted_at: Tensor) -> Tensor:
        """Returns a sorted buffer (of keys or queries) in token order."""
        return sorted_buffer[sorted_buffer.shape[0] - self.count * self.block :].index_select(0, sorted_at)

    def load(self, k: Tensor, v: Tensor, order: BucketOrder, round_: int) -> None:
        """Gathers keys, values and the places of this and all earlier rounds in the order of one round."""
        self.gather(self.k, k, order.token[round_])
        self.gather(self.v, v, order.token[round_])
        # Padding before and after the tokens is outside every window.
        far = 2 * (self.window + 1)
        self.place.fill_(-far)
        self.place[: round_ + 1, self.reach : self.reach + self.tokens] = order.place[: round_ + 1].index_select(
            1, order.token[round_]
        )

    def windows(self, sorted_keys: Tensor, chunk: slice) -> Tensor:
        """Returns the keys of each block, preceded by their reach, as an overlapping view [blocks, width, ...]."""
        step, stride = self.block * sorted_keys.stride(0), sorted_keys.stride()
        shape = (self.count, self.width, *sorted_keys.shape[1:])
        return sorted_keys.as_strided(shape, (step, *stride))[chunk]

    def chunks(self) -> Iterator[slice]:
        """Yields groups of blocks whose logits fit in the cache."""
        for start in range(0, self.count, self.chunk):
            yield slice(start, min(start + self.chunk, self.count))

    def logits(self, q: Tensor, chunk: slice, round_: int) -> Tensor:
        """Returns the logits of some blocks, -inf outside the window or where an earlier round already has the key."""
        logits = self._logits[: chunk.stop - chunk.start]
        torch.bmm(self.per_block(q)[chunk], self.windows(self.k, chunk).transpose(1, 2), out=logits)
        return logits.masked_fill_(self.excluded(chunk, round_), -torch.inf)

    def excluded(self, chunk: slice, round_: int) -> Tensor:
        """Returns the mask of the pairs of some blocks that are excluded in this round.

        A pair is in the window if `0 <= d < W`, where d is the difference of places (minus one if the token itself is
        not included). This is `|2 d - (W - 1)| < W`, one absolute value and one comparison, and the minimum over the
        earlier rounds is one operation per round.
        """
        distance = self._distance[: chunk.stop - chunk.start]
        outside = self._centred(chunk, round_, distance) >= self.window
        for earlier in range(round_):
            nearest = self._nearest[: chunk.stop - chunk.start]
            if earlier == 0:
                self._centred(chunk, 0, nearest)
            else:
                torch.minimum(nearest, self._centred(chunk, earlier, distance), out=nearest)
        if round_ > 0:
            outside |= nearest < self.window
        return outside

    def _centred(self, chunk: slice, round_: int, out: Tensor) -> Tensor:
        place = self.place[round_]
        of_query = self.per_block(place[self.reach :])[chunk]
        centre = 2 * (0 if self.include_self else 1) + self.window - 1
        twice_of_key = self.windows(place, chunk) * 2
        return torch.sub((of_query * 2 - centre)[:, :, None], twice_of_key[:, None, :], out=out).abs_()

    def per_block(self, sorted_queries: Tensor) -> Tensor:
        """Returns a sorted buffer of queries as [blocks, block, ...]."""
        return sorted_queries.view(self.count, self.block, *sorted_queries.shape[1:])

    def add_overlapping(self, total: Tensor, part: Tensor, chunk: slice) -> None:
        """Adds gradients [blocks, width, head_dim] of overlapping windows to the sorted keys, in a fixed order."""
        blocks = total.view(-1, self.block, self.head_dim)
        for shift in range(self.width // self.block):
            blocks[chunk.start + shift : chunk.stop + shift] += part[:, shift * self.block : (shift + 1) * self.block]


def _orders(bucket: Tensor, window: int) -> Iterator[BucketOrder]:
    """Yields the order of each row; rows that share their buckets (stride 0) share the sort."""
    order = None
    for row in bucket:
        if order is None or bucket.stride(0) != 0:
            order = bucket_order(row, window)
        yield order


def _as_all_positions(queries: Tensor, tokens: int) -> Tensor:
    """Returns queries of the last positions, zero-padded to every position."""
    if queries.shape[1] == tokens:
        return queries
    return torch.nn.functional.pad(queries, (0, 0, tokens - queries.shape[1], 0))


class _BlockedAttention(torch.autograd.Function):
    """Computes products in float32: autocast is off in both passes."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        with torch.autocast(inputs[0].device.type, enabled=False):
            out, log_sum_exp = _forward(*inputs[:-1])
        ctx.options = inputs[6:]
        ctx.save_for_backward(*inputs[:6], out if inputs[-1] is None else None, log_sum_exp)
        ctx.mark_non_differentiable(log_sum_exp)
        return out, log_sum_exp

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor, _d_log_sum_exp: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(d_out.device.type, enabled=False):
            *options, given = ctx.options
            delta = None if given is None else given.filled()
            arguments: list[Any] = [*ctx.saved_tensors, *options, d_out, delta]
            gradients = _backward(*arguments)
        return (*gradients, None, None, None, None, None)


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: Tensor,
    sink: Tensor | None,
    bucket: Tensor,
    window: int,
    include_self: bool,
    block: int,
) -> tuple[Tensor, Tensor]:
    rows, queries, _ = q.shape
    tokens, rounds = k.shape[1], bucket.shape[1]
    blocks = _Blocks(k, rounds, window, include_self, block)
    out = torch.empty_like(q)
    log_sum_exp = torch.empty(rows, queries, dtype=blocks.dtype, device=q.device)
    all_q = _as_all_positions(q, tokens)
    sorted_q, sorted_out = blocks.sorted_queries(q, q.shape[2]), blocks.sorted_queries(q, q.shape[2])
    sorted_lse = blocks.sorted_queries(q)
    for row, order in enumerate(_orders(bucket, blocks.window)):
        total, total_lse = None, None
        for round_ in range(rounds):
            blocks.load(k[row], v[row], order, round_)
            blocks.gather(sorted_q, all_q[row], order.token[round_])
            sorted_q.mul_(scale[row])
            for chunk in blocks.chunks():
                logits = blocks.logits(sorted_q, chunk, round_)
                # A finite maximum, so that -inf - maximum is not NaN where a query sees no key.
                maximum = logits.amax(-1).clamp_(min=torch.finfo(logits.dtype).min)
                weights = logits.sub_(maximum[..., None]).exp_()
                weight_sum = weights.sum(-1)
                chunk_out = blocks.per_block(sorted_out)[chunk]
                torch.bmm(weights, blocks.windows(blocks.v, chunk), out=chunk_out)
                chunk_out.div_(weight_sum.clamp(min=torch.finfo(logits.dtype).tiny)[..., None])
                blocks.per_block(sorted_lse)[chunk] = weight_sum.log_().add_(maximum)
            round_out = blocks.scattered(sorted_out, order.sorted_at[round_])
            round_lse = blocks.scattered(sorted_lse, order.sorted_at[round_])
            if total is None or total_lse is None:
                total, total_lse = round_out, round_lse
            else:
                total, total_lse = _merge(total, total_lse, round_out, round_lse)
        assert total is not None
        assert total_lse is not None
        if sink is not None:
            with_sink = torch.logaddexp(total_lse, sink[row].to(total_lse.dtype))
            # Clamped to be finite, so that a query without keys or sink gives zero, not NaN.
            total.mul_(torch.exp(total_lse - with_sink.clamp(min=torch.finfo(with_sink.dtype).min))[:, None])
            total_lse = with_sink
        out[row] = total[tokens - queries :]
        log_sum_exp[row] = total_lse.masked_fill_(total_lse == -torch.inf, torch.inf)[tokens - queries :]
    return out, log_sum_exp


def _backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: Tensor,
    sink: Tensor | None,
    bucket: Tensor,
    out: Tensor | None,
    log_sum_exp: Tensor,
    window: int,
    include_self: bool,
    block: int,
    d_out: Tensor,
    given_delta: Tensor | None,
) -> tuple[Tensor | None, ...]:
    queries, tokens, rounds = q.shape[1], k.shape[1], bucket.shape[1]
    blocks = _Blocks(k, rounds, window, include_self, block)
    d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    d_scale = torch.empty_like(scale)
    d_sink = None if sink is None else torch.empty_like(sink)
    all_q, all_d_out = _as_all_positions(q, tokens), _as_all_positions(d_out, tokens)
    sorted_q, sorted_d_out, sorted_d_q = (blocks.sorted_queries(q, q.shape[2]) for _ in range(3))
    sorted_lse, sorted_delta = blocks.sorted_queries(q), blocks.sorted_queries(q)
    sorted_d_k, sorted_d_v = blocks.sorted_keys(k), blocks.sorted_keys(k)
    for row, order in enumerate(_orders(bucket, blocks.window)):
        if given_delta is not None:
            delta = given_delta[row]
        else:
            assert out is not None
            delta = (d_out[row].to(blocks.dtype) * out[row].to(blocks.dtype)).sum(-1)
        if sink is not None and d_sink is not None:
            sink_weight = torch.exp(sink[row].to(blocks.dtype) - log_sum_exp[row])
            d_sink[row] = -(sink_weight * delta).sum()
        row_lse = torch.nn.functional.pad(log_sum_exp[row], (tokens - queries, 0), value=torch.inf)
        row_delta = torch.nn.functional.pad(delta, (tokens - queries, 0))
        gradients: list[Tensor] = []
        for round_ in range(rounds):
            blocks.load(k[row], v[row], order, round_)
            token, sorted_at = order.token[round_], order.sorted_at[round_]
            blocks.gather(sorted_q, all_q[row], token)
            sorted_q.mul_(scale[row])
            blocks.gather(sorted_d_out, all_d_out[row], token)
            blocks.gather(sorted_lse, row_lse, token)
            blocks.gather(sorted_delta, row_delta, token)
            sorted_d_k.zero_()
            sorted_d_v.zero_()
            for chunk in blocks.chunks():
                chunk_lse = blocks.per_block(sorted_lse)[chunk][..., None]
                chunk_d_out = blocks.per_block(sorted_d_out)[chunk]
                weights = blocks.logits(sorted_q, chunk, round_).sub_(chunk_lse).exp_()
                blocks.add_overlapping(sorted_d_v, torch.bmm(weights.transpose(1, 2), chunk_d_out), chunk)
                d_logits = torch.bmm(chunk_d_out, blocks.windows(blocks.v, chunk).transpose(1, 2))
                d_logits.sub_(blocks.per_block(sorted_delta)[chunk][..., None]).mul_(weights)
                chunk_d_q = blocks.per_block(sorted_d_q)[chunk]
                torch.bmm(d_logits, blocks.windows(blocks.k, chunk), out=chunk_d_q)
                chunk_q = blocks.per_block(sorted_q)[chunk]
                blocks.add_overlapping(sorted_d_k, torch.bmm(d_logits.transpose(1, 2), chunk_q), chunk)
            parts = [blocks.scattered(part, sorted_at) for part in (sorted_d_q, sorted_d_k, sorted_d_v)]
            gradients = [a.add_(b) for a, b in zip(gradients, parts, strict=True)] if gradients else parts
        row_d_q = gradients[0][tokens - queries :]
        d_scale[row] = (row_d_q * q[row].to(blocks.dtype)).sum()
        d_q[row], d_k[row], d_v[row] = row_d_q.mul_(scale[row]), gradients[1], gradients[2]
    return d_q, d_k, d_v, d_scale, d_sink


def _merge(out: Tensor, lse: Tensor, other: Tensor, other_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the softmax mean over two disjoint sets of keys from the mean over each; consumes `out` and `other`."""
    merged = torch.logaddexp(lse, other_lse)
    finite = merged.masked_fill(merged == -torch.inf, 0.0)
    out.mul_(torch.exp(lse - finite)[:, None])
    return out.addcmul_(other, torch.exp(other_lse - finite)[:, None]), merged
