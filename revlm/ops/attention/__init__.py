"""Bucketed window attention: one operation for local and hash layers, one file per backend.

Each query attends to the `window` most recent earlier positions of its own bucket, in each of several rounds of
buckets; a key found in several rounds counts once. `reference` is the definition; every other backend computes the
same.
"""

from types import ModuleType

from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops import backends
from revlm.ops.attention import blocked, compiled, reference, triton
from revlm.ops.attention.arguments import (
    Arguments,
    CallSizes,
    Delta,
    checked_arguments,
    checks_its_arguments,
    require_bucket_numbers,
)
from revlm.ops.attention.statistics import BucketStatistics, bucket_statistics

__all__ = [
    "BucketStatistics",
    "Delta",
    "attention_with_log_sum_exp",
    "bucket_statistics",
    "bucketed_window_attention",
    "workspace_bytes",
]

_BACKENDS: dict[str, ModuleType] = {
    "reference": reference,
    "blocked": blocked,
    "compiled": compiled,
    "triton": triton,
}
# Attention's backend for each general backend, when the argument is `auto`.
_BY_BACKEND = {"pytorch": "blocked", "compiled": "compiled", "triton": "triton"}


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
    """Returns, for each query, the softmax-weighted mean of the values in the windows of its buckets.

    A row is one head of one sequence. For a query at position t, S_r(t) holds the `window` most recent positions
    s < t with `bucket[r, s] == bucket[r, t]` (with `include_self`: t and the `window - 1` most recent such s), and
    S(t) is the union over the rounds. `out[t] = sum over s in S(t) of softmax(scale * <q[t], k[s]>) * v[s]`; the sink
    is an additional logit with weight but without a value. Where S(t) is empty the output is zero.

    With fewer queries than tokens, the queries are the last positions. Bucket numbers are in 0..2^31-1; positions in
    different buckets never attend to each other. A scale, a sink or buckets of one row apply to all rows. Gradients
    reach q, k, v, the sink and a scale that is a tensor. The result has q's dtype, and is empty where there is no
    query.

    With `auto`, `revlm.ops.backends` chooses the backend: `compiled` on a CPU with a compiler; `triton` on CUDA for
    bfloat16 and float32 and a head_dim of at most 128; otherwise `blocked`, PyTorch's operations.

    Raises:
        UsageError: an argument's shape, dtype, device or numbers do not fit (the message names it), or the backend is
            unknown or unavailable. On CUDA the check of the bucket numbers synchronizes.

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
    delta: Delta | None = None,
) -> tuple[Float[Tensor, "rows queries head_dim"], Float[Tensor, "rows queries"]]:
    """Returns `bucketed_window_attention` and the logarithm of each softmax's denominator, including the sink.

    The second result has no gradient; it is +inf where there is neither a key nor a sink. `block` is the number of
    queries that all backends but `reference` process together: it changes speed and memory, not the result. With
    `may_overwrite` the backward pass may write the gradients over q, k and v, and can then run only once. With `delta`
    the output is not kept for the backward pass, whose caller fills it in before.
    """
    if backend not in ("auto", *_BACKENDS):
        raise UsageError(f"unknown attention backend {backend!r}: choose one of auto, {', '.join(sorted(_BACKENDS))}")
    arguments = checked_arguments(
        q, k, v, bucket, window=window, scale=scale, sink=sink, include_self=include_self, block=block
    )
    if arguments.is_empty():
        out, log_sum_exp = arguments.empty_result()
    else:
        attend = _backend(backend, arguments).attention_with_log_sum_exp
        out, log_sum_exp = attend(**arguments._asdict(), may_overwrite=may_overwrite, delta=delta)
    return out.to(q.dtype), log_sum_exp


def _backend(name: str, arguments: Arguments) -> ModuleType:
    """Returns the backend with a name, or with `auto` one that takes the arguments.

    Raises:
        UsageError: the requested backend is unavailable or does not take the arguments.
    """
    device = arguments.q.device
    if name == "auto":
        module = _BACKENDS[_BY_BACKEND[backends.chosen(device)]]
        return module if module.takes(arguments) else blocked
    if name in backends.BACKENDS:
        backends.require(name, device)
    if not _BACKENDS[name].takes(arguments):
        raise UsageError(
            f"backend '{name}' does not support {arguments.q.dtype} with a head_dim of {arguments.q.shape[2]}: use "
            "'blocked', or more heads"
        )
    return _BACKENDS[name]


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
    """Returns the peak of the bytes that one call of a backend holds besides its inputs, results and gradients.

    Each backend counts its own buffers; `element_bytes` is the size of an element of q, k and v. `auto` means the
    backend expected on `device_kind`, "cpu" or "cuda", before anything is built.
    """
    if backend == "auto":
        backend = _BY_BACKEND[backends.planned(device_kind)]
        if not _BACKENDS[backend].takes_head_dim(head_dim):
            backend = "blocked"
    sizes = CallSizes(
        rows=rows,
        tokens=tokens,
        head_dim=head_dim,
        rounds=rounds,
        window=min(window, tokens),
        block=min(block, tokens),
        element_bytes=element_bytes,
        backward=backward,
        queries_are_keys=queries_are_keys,
    )
    return int(_BACKENDS[backend].workspace_bytes(sizes))
