"""The Triton attention as an autograd function.

Kernels gather q, k and v through the sorted order, so that no sorted copies exist; tensors may have more than 2^31
elements. Rounds run in sequence: in each, one program processes a query and adds to its output and log-sum-exp. Sums
are in float32 (float64 for float64 inputs), there are no atomics, and the same call gives the same bits. Rows are
processed in groups large enough to fill a GPU.

Besides inputs and results a call holds, for one group of rows: 16 bytes per token and round for the sorted order; in
the forward pass of several rounds on half-precision inputs the means so far; in the backward pass the sums of the
gradients, each `head_dim` numbers per token: of all three (two where q is k), or of q alone where gradients may be
written over the inputs and there is one round, in which only its own program reads a key.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops.attention.arguments import Options
from revlm.ops.attention.triton.backward import Given
from revlm.ops.attention.triton.forward import forward_launch
from revlm.ops.attention.triton.key_gradients import key_launch
from revlm.ops.attention.triton.order import sorted_orders
from revlm.ops.attention.triton.query_gradients import query_launch
from revlm.ops.attention.triton.workspace import rows_together
from revlm.ops.triton.availability import on_device


class TritonAttention(torch.autograd.Function):
    """From (q or None where q is k, k, v, scale, sink, bucket, options) to (out, log_sum_exp)."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor | None,
        k: Tensor,
        v: Tensor,
        scale: Tensor,
        sink: Tensor | None,
        bucket: Tensor,
        options: Options,
    ) -> tuple[Tensor, Tensor]:
        q, k, v = None if q is None else _heads_contiguous(q), _heads_contiguous(k), _heads_contiguous(v)
        scale, sink = scale.contiguous(), None if sink is None else sink.contiguous()
        with on_device(k.device):
            out, log_sum_exp = _forward(k if q is None else q, k, v, scale, sink, bucket, options)
        ctx.options = options
        ctx.save_for_backward(q, k, v, scale, sink, bucket, out if options.delta is None else None, log_sum_exp)
        ctx.mark_non_differentiable(log_sum_exp)
        return out, log_sum_exp

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor, _d_log_sum_exp: Tensor) -> tuple[Tensor | None, ...]:
        given: list[Any] = [*ctx.saved_tensors, _heads_contiguous(d_out), ctx.options]
        with on_device(d_out.device):
            return (*_backward(*given), None, None)


def _forward(
    q: Tensor, k: Tensor, v: Tensor, scale: Tensor, sink: Tensor | None, bucket: Tensor, options: Options
) -> tuple[Tensor, Tensor]:
    (rows, queries, head_dim), tokens, rounds = q.shape, k.shape[1], bucket.shape[1]
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    log_sum_exp = torch.empty(q.shape[:2], dtype=scale.dtype, device=q.device)
    group = rows_together(rows, tokens)
    keeps_means = rounds > 1 and out.dtype != scale.dtype
    means = torch.empty(group, queries, head_dim, dtype=scale.dtype, device=q.device) if keeps_means else None
    for span, order in sorted_orders(bucket, group, options.window, options.include_self):
        for round_ in range(rounds):
            forward_launch(
                q[span],
                k[span],
                v[span],
                scale[span],
                None if sink is None else sink[span],
                out[span],
                out[span] if means is None else means,
                log_sum_exp[span],
                order,
                round_=round_,
                include_self=options.include_self,
                block=options.block,
            ).run()
    return out, log_sum_exp


def _backward(
    q: Tensor | None,
    k: Tensor,
    v: Tensor,
    scale: Tensor,
    sink: Tensor | None,
    bucket: Tensor,
    out: Tensor | None,
    log_sum_exp: Tensor,
    d_out: Tensor,
    options: Options,
) -> tuple[Tensor | None, ...]:
    rounds, group = bucket.shape[1], rows_together(k.shape[0], k.shape[1])
    given = {name: x for name, x in (("q", q), ("k", k), ("v", v)) if x is not None}
    over = options.may_overwrite
    gradients = {name: x.detach() if over else x.new_empty(x.shape) for name, x in given.items()}
    # A single round needs no sums, unless the gradients of queries are added to those of keys.
    sum_type = k.dtype if rounds == 1 and q is not None else scale.dtype
    # Other programs read the queries whose gradients are written; in a single round no other reads the keys.
    in_place = {
        name: sum_type == k.dtype and x.is_contiguous() and not (over and (name == "q" or rounds > 1))
        for name, x in gradients.items()
    }
    sums = {
        name: x if in_place[name] else x.new_empty(group, *x.shape[1:], dtype=sum_type) for name, x in gradients.items()
    }
    # Filled by the first launch of each group of rows where it is not given.
    all_delta = torch.empty_like(log_sum_exp[:group]) if options.delta is None else options.delta.filled()
    d_scales = torch.empty_like(log_sum_exp[:group])
    d_scale, d_sink = torch.empty_like(scale), None if sink is None else torch.empty_like(sink)
    for span, order in sorted_orders(bucket, group, options.window, options.include_self):
        rows = span.stop - span.start
        delta = all_delta[:rows] if options.delta is None else all_delta[span]
        read = Given(
            *((k if q is None else q)[span], k[span], v[span], scale[span], log_sum_exp[span], d_out[span]),
            *(delta, order, options.include_self, options.block),
        )
        of_group = {name: x[span] if in_place[name] else x[:rows] for name, x in sums.items()}
        d_k, d_v = of_group["k"], of_group["v"]
        d_q = of_group.get("q", d_k)
        for round_ in range(rounds):
            query_launch(read, None if out is None else out[span], d_q, d_scales[:rows], round_=round_).run()
        for round_ in range(rounds):
            key_launch(read, d_k, d_v, round_=round_, add_to_d_k=q is None).run()
        d_scale[span] = d_scales[:rows].sum(-1)
        if sink is not None and d_sink is not None:
            d_sink[span] = -(torch.exp(sink[span, None] - log_sum_exp[span]) * delta).sum(-1)
        for name, gradient in gradients.items():
            if not in_place[name]:
                gradient[span] = sums[name][:rows]
    if over:
        torch.autograd.graph.increment_version(list(given.values()))
    return gradients.get("q"), gradients["k"], gradients["v"], d_scale, d_sink


def _heads_contiguous(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()
