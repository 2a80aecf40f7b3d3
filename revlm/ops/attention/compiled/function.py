"""The compiled attention as an autograd function.

Blocks of queries attend to the band of sorted keys that holds their windows, in tiles whose sums stay in registers.
Rounds are merged by their log-sum-exp, and the backward pass recomputes the weights from it. Sums are in float32
(float64 for float64 inputs). bfloat16 is multiplied as such where the CPU has dot products of pairs: weights and their
gradients are then rounded to bfloat16 before products; otherwise products are in float32.

Results have the same bits for any number of threads: a thread processes 2,048 places of the sorted order at a time
(more for a wider window), and contributions of two threads to one key are added in a fixed order.

Besides inputs and results it holds, for one row (for as many short rows as keep the threads busy): 12 bytes per token
and round for the sorted order; with several rounds, a copy of q, k, v and the sum of the output, in the backward pass
of q, k, v, d_out and three sums, `head_dim` elements per token each (where q is k, one for both); and for the logits of
each thread, `2 * (window + block) * (2 * head_dim + block)` numbers.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops.attention.arguments import Arguments, Delta, Options
from revlm.ops.compiled import library
from revlm.ops.compiled.structures import Problem, StridedTensor
from revlm.ops.heap import hold_in_huge_pages

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float64: "float64"}


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
    """Returns the result of `reference.attention_with_log_sum_exp`, on a CPU with a C++ compiler.

    Where q and k are the same tensor, it is read once and one sum holds both gradients. With `may_overwrite` the
    backward pass may write the gradients over q, k and v, and can then run only once; with `delta` it does not read the
    output.

    Raises:
        BuildError: the compiler rejects the source.
        MemoryError: memory runs out.
    """
    inputs = k.dtype if k.dtype in _NAMES else torch.float32
    options = Options(window, include_self, block, may_overwrite, delta)
    own_q = None if q is k else q.to(inputs)
    return _CompiledAttention.apply(own_q, k.to(inputs), v.to(inputs), scale, sink, _as_int32(bucket), options)


class _CompiledAttention(torch.autograd.Function):
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
        q, k, v = None if q is None else _rows_contiguous(q), _rows_contiguous(k), _rows_contiguous(v)
        scale, sink = scale.contiguous(), None if sink is None else sink.contiguous()
        queries = k if q is None else q
        out = hold_in_huge_pages(torch.empty(queries.shape, dtype=k.dtype))
        log_sum_exp = torch.empty(queries.shape[:2], dtype=scale.dtype)
        given = {"q": q, "k": k, "v": v, "bucket": bucket, "scale": scale, "sink": sink}
        ctx.options = options
        _call("forward", {**given, "out": out, "log_sum_exp": log_sum_exp}, options)
        ctx.save_for_backward(*given.values(), out if options.delta is None else None, log_sum_exp)
        ctx.mark_non_differentiable(log_sum_exp)
        return out, log_sum_exp

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor, _d_log_sum_exp: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bucket, scale, sink, out, log_sum_exp = ctx.saved_tensors
        saved = {"q": q, "k": k, "v": v, "bucket": bucket, "scale": scale, "sink": sink}
        # In float32 with a single round, gradients are summed in place while the inputs are still read.
        over = ctx.options.may_overwrite and (bucket.shape[1] > 1 or k.dtype != scale.dtype)
        gradients = {
            f"d_{name}": None
            if of is None
            else of.detach()
            if over
            else hold_in_huge_pages(torch.empty(of.shape, dtype=of.dtype))
            for name, of in (("q", q), ("k", k), ("v", v))
        }
        gradients |= {"d_scale": torch.zeros_like(scale), "d_sink": None if sink is None else torch.zeros_like(sink)}
        delta = None if ctx.options.delta is None else ctx.options.delta.filled()
        results = {"out": out, "log_sum_exp": log_sum_exp, "d_out": _rows_contiguous(d_out), "delta": delta}
        _call("backward", {**saved, **results, **gradients}, ctx.options)
        if over:
            torch.autograd.graph.increment_version([each for each in (q, k, v) if each is not None])
        return (*gradients.values(), None, None)


def _call(function: str, tensors: dict[str, Tensor | None], options: Options) -> None:
    log_sum_exp, k, bucket = tensors["log_sum_exp"], tensors["k"], tensors["bucket"]
    assert log_sum_exp is not None
    assert k is not None
    assert bucket is not None
    problem = Problem(
        rows=k.shape[0],
        queries=log_sum_exp.shape[1],
        tokens=k.shape[1],
        rounds=bucket.shape[1],
        head_dim=k.shape[2],
        window=options.window,
        block=options.block + options.block % 2,
        include_self=options.include_self,
        threads=torch.get_num_threads(),
    )
    for name, tensor in tensors.items():
        if tensor is not None and isinstance(getattr(problem, name), StridedTensor):
            setattr(problem, name, StridedTensor.of(tensor))
        elif tensor is not None:
            setattr(problem, name, tensor.data_ptr())
    library.call(
        f"attention_{function}_{_NAMES[k.dtype]}", problem, f"the {function} pass of attention over {k.shape[1]} tokens"
    )


def _rows_contiguous(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _as_int32(bucket: Tensor) -> Tensor:
    """Returns the buckets as int32; rows that share their buckets (stride 0) still do."""
    if bucket.dtype == torch.int32:
        return bucket
    if bucket.stride(0) == 0:
        return bucket[:1].to(torch.int32).expand_as(bucket)
    return bucket.to(torch.int32)
