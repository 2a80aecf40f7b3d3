"""Bucketed window attention: one operation for local and for hashed layers, one backend a file.

Each query attends to the `window` most recent earlier positions of its own bucket, in each of several rounds of
buckets; a key found in several rounds counts once. The definition is `reference`; every other backend equals it.
"""

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops.attention import blocked, compiled, reference, triton
from revlm.ops.attention.arguments import Arguments, checked_arguments, checks_its_arguments, require_bucket_numbers
from revlm.ops.attention.statistics import BucketStatistics, bucket_statistics
from revlm.ops.compiled import library

__all__ = [
    "BucketStatistics",
    "attention_with_log_sum_exp",
    "bucket_statistics",
    "bucketed_window_attention",
    "workspace_bytes",
]

_BACKENDS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "reference": reference.attention_with_log_sum_exp,
    "blocked": blocked.attention_with_log_sum_exp,
    "compiled": compiled.attention_with_log_sum_exp,
    "triton": triton.attention_with_log_sum_exp,
}
# For the backends that `auto` can be.
_WORKSPACES: dict[str, Callable[..., int]] = {
    "blocked": blocked.workspace_bytes,
    "compiled": compiled.workspace_bytes,
    "triton": triton.workspace_bytes,
}


@checks_its_arguments
def bucketed_window_attention(
    q: Float[Tensor, "rows queries head_dim"],
    k: Float[Tensor, "rows tokens head_dim"],
    v: Float[Tensor, "rows tokens head_dim"],
    bucket: Int[Tensor, "#rows rounds tokens"],
    *,
    window: int,
    scale: float | Float[Tensor, "#rows"] = 1.0,
    sink: Float[Tensor, "#rows"] | None = None,
    include_self: bool,
    backend: str = "auto",
) -> Float[Tensor, "rows queries head_dim"]:
    """Returns, for each query, the softmax-weighted mean of the values in its window of its buckets.

    A row is one head of one sequence. For a query at position t, S_r(t) holds the `window` most recent positions
    s < t with `bucket[r, s] == bucket[r, t]` (with `include_self`: t and the `window - 1` most recent such s), and
    S(t) is the union over the rounds. `out[t] = sum over s in S(t) of softmax(scale * <q[t], k[s]>) * v[s]`; the sink
    is one more logit that takes weight and gives no value. Where S(t) is empty the output is zero.

    With fewer queries than tokens, the queries are the last positions. Bucket numbers lie in 0..2^31-1; documents
    whose numbers differ never meet. A scale, a sink or buckets of one row are those of all rows. Gradients reach q, k,
    v, the sink and a scale that is a tensor. The result is of q's dtype, and empty where there is no query.

    The backend `auto` is `compiled` on a CPU for which there is a compiler; `triton` on CUDA for bfloat16 and float32
    and a head_dim of at most 128, where triton can be imported (a warning says where it cannot); else `blocked`.

    Raises:
        UsageError: naming the argument whose shape, dtype, device or numbers do not fit; on an unknown backend, or one
            that cannot be here. On CUDA the check of the bucket numbers waits for them.

    Source: the buckets are those of Kitaev, Kaiser and Levskaya, arXiv 2001.04451, section 2; windows in place of
    chunks of the sorted order make the result strictly causal.
    """
    require_bucket_numbers(bucket)
    out, _ = attention_with_log_sum_exp(
        q, k, v, bucket, window=window, scale=scale, sink=sink, include_self=include_self, backend=backend
    )
    return out


@checks_its_arguments
def attention_with_log_sum_exp(
    q: Float[Tensor, "rows queries head_dim"],
    k: Float[Tensor, "rows tokens head_dim"],
    v: Float[Tensor, "rows tokens head_dim"],
    bucket: Int[Tensor, "#rows rounds tokens"],
    *,
    window: int,
    scale: float | Float[Tensor, "#rows"] = 1.0,
    sink: Float[Tensor, "#rows"] | None = None,
    include_self: bool,
    backend: str = "auto",
    block: int = 64,
    may_overwrite: bool = False,
) -> tuple[Float[Tensor, "rows queries head_dim"], Float[Tensor, "rows queries"]]:
    """Returns `bucketed_window_attention` and the logarithm of each softmax's denominator, the sink's share included.

    The second result carries no gradient; it is +inf where there is neither a key nor a sink. `block` is the number
    of queries that all but `reference` work on together: it changes speed and memory, not the result. With
    `may_overwrite` the backward pass may write the gradients over q, k and v, and then cannot run a second time.
    """
    if backend not in ("auto", *_BACKENDS):
        raise UsageError(f"unknown attention backend {backend!r}: choose one of auto, {', '.join(sorted(_BACKENDS))}")
    arguments = checked_arguments(
        q, k, v, bucket, window=window, scale=scale, sink=sink, include_self=include_self, block=block
    )
    if backend == "compiled":
        compiled.require(q.device)
    elif backend == "auto":
        backend = _best(arguments)
    if arguments.is_empty():
        out, log_sum_exp = arguments.empty_result()
        return out.to(q.dtype), log_sum_exp
    options = arguments._asdict()
    if backend == "reference":
        del options["block"]
    if backend in ("compiled", "triton"):
        options["may_overwrite"] = may_overwrite
    out, log_sum_exp = _BACKENDS[backend](**options)
    return out.to(q.dtype), log_sum_exp


def _best(arguments: Arguments) -> str:
    q, k, v = arguments.q, arguments.k, arguments.v
    if q.device.type == "cpu" and library.builds():
        return "compiled"
    return "triton" if triton.takes(q, k, v) else "blocked"


def workspace_bytes(
    *,
    rows: int,
    tokens: int,
    head_dim: int,
    rounds: int,
    window: int,
    block: int,
    element_bytes: int,
    backward: bool,
    device_kind: str,
    queries_are_keys: bool = False,
    backend: str = "auto",
) -> int:
    """Returns the most bytes that one call of a backend holds beside its inputs, its results and its gradients.

    Each backend counts its own buffers; `element_bytes` is the size of an element of q, k and v. `auto` is what it is
    on a kind of device, "cpu" or "cuda", as far as can be told before anything is built.
    """
    if backend == "auto":
        compiles = device_kind == "cpu" and library.is_available()
        by_card = "triton" if triton.is_planned_for(device_kind, head_dim) else "blocked"
        backend = "compiled" if compiles else by_card
    options = {} if backend == "blocked" else {"queries_are_keys": queries_are_keys}
    return _WORKSPACES[backend](
        rows=rows,
        tokens=tokens,
        head_dim=head_dim,
        rounds=rounds,
        window=window,
        block=block,
        element_bytes=element_bytes,
        backward=backward,
        **options,
    )
