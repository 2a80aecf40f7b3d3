"""Bucketed window attention in Triton for CUDA; `triton` is imported at the first call."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.attention.arguments import Arguments, Delta, Options
from revlm.ops.attention.triton.workspace import workspace_bytes
from revlm.ops.triton.availability import is_interpreted

__all__ = ["attention_with_log_sum_exp", "takes", "takes_head_dim", "workspace_bytes"]

_LARGEST_HEAD_DIM = 128
_DTYPES = (torch.bfloat16, torch.float32)


def takes(arguments: Arguments) -> bool:
    """Returns whether the backend supports the arguments' head_dim and dtype."""
    return takes_head_dim(arguments.k.shape[2]) and (is_interpreted() or arguments.k.dtype in _DTYPES)


def takes_head_dim(head_dim: int) -> bool:
    """Returns whether the backend supports the head_dim."""
    return head_dim <= _LARGEST_HEAD_DIM


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
    """Returns the result of `reference.attention_with_log_sum_exp`, on CUDA (elsewhere in Triton's interpreter).

    `block` is rounded down to a power of two between 16 and the kernel's limit. Where q and k are the same tensor, one
    sum holds both gradients. With `may_overwrite` the backward pass may write the gradients over q, k and v, and can
    then run only once; with `delta` it does not read the output.
    """
    from revlm.ops.attention.triton.function import TritonAttention

    options = Options(window, include_self, block, may_overwrite, delta)
    return TritonAttention.apply(None if q is k else q, k, v, scale, sink, bucket, options)
