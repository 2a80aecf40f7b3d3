"""Bucketed window attention in Triton, for CUDA; `triton` is imported when it is first called."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops.attention.triton.workspace import workspace_bytes
from revlm.ops.triton.availability import is_for, require, runs_on

__all__ = ["attention_with_log_sum_exp", "is_planned_for", "takes", "workspace_bytes"]

_LARGEST_HEAD_DIM = 128
_DTYPES = (torch.bfloat16, torch.float32)


def takes(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Returns whether these tensors are on CUDA beside Triton, of a head_dim and in a precision that is made for."""
    fits = k.shape[2] <= _LARGEST_HEAD_DIM and all(x.dtype in _DTYPES for x in (q, k, v))
    return fits and runs_on(q.device)


def is_planned_for(device_kind: str, head_dim: int) -> bool:
    """Returns whether `auto` will be this backend on "cpu" or "cuda", as far as this machine tells."""
    return head_dim <= _LARGEST_HEAD_DIM and is_for(device_kind)


def attention_with_log_sum_exp(
    q: Float[Tensor, "rows queries head_dim"],
    k: Float[Tensor, "rows tokens head_dim"],
    v: Float[Tensor, "rows tokens head_dim"],
    bucket: Int[Tensor, "rows rounds tokens"],
    *,
    window: int,
    scale: float | Float[Tensor, "rows"] = 1.0,
    sink: Float[Tensor, "rows"] | None = None,
    include_self: bool,
    block: int = 64,
    may_overwrite: bool = False,
) -> tuple[Float[Tensor, "rows queries head_dim"], Float[Tensor, "rows queries"]]:
    """Returns what `reference.attention_with_log_sum_exp` returns, on CUDA (elsewhere in Triton's interpreter).

    `block` becomes the power of two below it, between 16 and 128. Where q is k, the same tensor, one sum holds both of
    its gradients. With `may_overwrite` the backward pass, which is then possible once, may write the gradients over q,
    k and v.

    Raises:
        UsageError: where Triton cannot run on these tensors, or for a head_dim beyond 128.
    """
    require(q.device)
    if k.shape[2] > _LARGEST_HEAD_DIM:
        raise UsageError(
            f"attention backend 'triton' is for a head_dim of at most {_LARGEST_HEAD_DIM} and this one is "
            f"{k.shape[2]}: use 'blocked', or more heads"
        )
    from revlm.ops.attention.triton.function import Options, TritonAttention

    inputs = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    sums = torch.promote_types(inputs, torch.float32)
    if not isinstance(scale, Tensor):
        scale = torch.full((q.shape[0],), scale, dtype=sums, device=q.device)
    sink = None if sink is None else sink.to(sums)
    options = Options(min(window, k.shape[1]), include_self, block, may_overwrite)
    own_q = None if q is k else q.to(inputs)
    out, log_sum_exp = TritonAttention.apply(own_q, k.to(inputs), v.to(inputs), scale.to(sums), sink, bucket, options)
    return out.to(q.dtype), log_sum_exp
