"""Bucketed window attention: one operation for local and for hashed layers, one backend a file.

Each query attends to the `window` most recent earlier positions of its own bucket, in each of several rounds of
buckets; a key found in several rounds counts once. The definition is `reference`; every other backend equals it.
"""

from types import ModuleType

from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops import backends
from revlm.ops.attention import blocked, compiled, reference, triton
from revlm.ops.attention.arguments import Arguments, checked_arguments, checks_its_arguments, require_bucket_numbers
from revlm.ops.attention.statistics import BucketStatistics, bucket_statistics

__all__ = [
    "BucketStatistics",
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
# What `auto` is by the choice of all operations.
_OF_CHOICE = {"pytorch": "blocked", "compiled": "compiled", "triton": "triton"}


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

    The backend `auto` is what `revlm.ops.backends` chooses: `compiled` on a CPU for which there is a compiler; `triton`
    on CUDA for bfloat16 and float32 and a head_dim of at most 128; else `blocked`, which is PyTorch's own operations.

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
    if arguments.is_empty():
        out, log_sum_exp = arguments.empty_result()
    else:
        attend = _backend(backend, arguments).attention_with_log_sum_exp
        out, log_sum_exp = attend(**arguments._asdict(), may_overwrite=may_overwrite)
    return out.to(q.dtype), log_sum_exp


def _backend(name: str, arguments: Arguments) -> ModuleType:
    """Returns the backend of a name; `auto` is one that takes the arguments.

    Raises:
        UsageError: where a backend that is asked for cannot be here or does not take them.
    """
    device = arguments.q.device
    if name == "auto":
        module = _BACKENDS[_OF_CHOICE[backends.chosen(device)]]
        return module if module.takes(arguments) else blocked
    if name in backends.BACKENDS:
        backends.require(name, device)
    if not _BACKENDS[name].takes(arguments):
        raise UsageError(
            f"backend '{name}' is not made for {arguments.q.dtype} and a head_dim of {arguments.q.shape[2]}: use "
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
    """Returns the most bytes that one call of a backend holds beside its inputs, its results and its gradients.

    Each backend counts its own buffers; `element_bytes` is the size of an element of q, k and v. `auto` is what it is
    on a kind of device, "cpu" or "cuda", as far as can be told before anything is built.
    """
    if backend == "auto":
        backend = _OF_CHOICE[backends.planned(device_kind)]
        if not _BACKENDS[backend].takes_head_dim(head_dim):
            backend = "blocked"
    return _BACKENDS[backend].workspace_bytes(
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
