"""Keys of a token and of its predecessor: the unit vectors of `k[t] + weight * k[t - 1]`.

A query that is such a key finds tokens that are like its own and follow alike ones, so a layer can read what followed
an earlier pair of tokens at once. The weighted sum of neighbouring keys is that of KV-shifting attention (Xu et al.,
arXiv 2411.19574).

A backend has `add_predecessors(k, starts, weight, out)`, which fills `out`, and `add_predecessors_backward(k, starts,
weight, d_out, d_k)`, which fills d_k, possibly in d_out's memory, and returns the gradient of the weight.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.ops import backends
from revlm.ops.heap import hold_in_huge_pages
from revlm.ops.predecessor_keys import reference
from revlm.ops.predecessor_keys.reference import workspace_bytes

__all__ = ["keys_after", "keys_with_predecessors", "workspace_bytes"]


def keys_with_predecessors(
    k: Float[Tensor, "heads tokens head_dim"],
    starts: Int[Tensor, "documents"],
    weight: Float[Tensor, "heads"],
    *,
    may_overwrite: bool = False,
) -> Float[Tensor, "heads tokens head_dim"]:
    """Returns `unit(k[t] + weight * k[t - 1])` for each token, in the dtype of k.

    The first token of a document has no predecessor: it keeps `unit(k[t])`. `starts` are these tokens in ascending
    order; the first of all is one of them in any case. A vector much shorter than 1e-6 stays short. Sums and norms are
    in float32, or in float64 for float64. With `may_overwrite` the backward pass may write the gradient of k over that
    of the result, which nothing else may hold then.
    """
    return _WithPredecessors.apply(k, starts, weight, may_overwrite)


def keys_after(
    k: Float[Tensor, "heads some head_dim"],
    previous: Float[Tensor, "heads some head_dim"],
    weight: Float[Tensor, "heads"],
) -> Float[Tensor, "heads some head_dim"]:
    """Returns the same for keys given with the one before each, zero where there is none; without gradients."""
    return reference.keys_after(k.detach(), previous, _in_sums(weight.detach(), k))


class _WithPredecessors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, k: Tensor, starts: Tensor, weight: Tensor, may_overwrite: bool) -> Tensor:
        ctx.save_for_backward(k, starts, weight)
        ctx.may_overwrite = may_overwrite
        out = hold_in_huge_pages(torch.empty(k.shape, dtype=k.dtype, device=k.device))
        _backend(k).add_predecessors(k, starts, _in_sums(weight, k), out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        k, starts, weight = ctx.saved_tensors
        d_out = d_out if d_out.stride(-1) == 1 else d_out.contiguous()
        over = ctx.may_overwrite and d_out.dtype == k.dtype and d_out.is_contiguous()
        d_k = d_out if over else hold_in_huge_pages(torch.empty(k.shape, dtype=k.dtype, device=k.device))
        d_weight = _backend(k).add_predecessors_backward(k, starts, _in_sums(weight, k), d_out, d_k)
        return d_k, None, d_weight.to(weight.dtype), None


def _backend(k: Tensor) -> Any:
    return backends.implementation(__name__, k.device, k)


def _in_sums(weight: Tensor, k: Tensor) -> Tensor:
    return weight.to(torch.promote_types(k.dtype, torch.float32)).contiguous()
