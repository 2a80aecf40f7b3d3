"""Attention of one query per row to keys gathered for it, for decoding one token at a time."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from revlm.ops.attention.arguments import FLOATS, checks_its_arguments, require_axes, require_shape, require_tensor


@checks_its_arguments
def one_query_attention(
    q: Float[Tensor, "heads samples head_dim"],
    k: Float[Tensor, "heads samples keys head_dim"],
    v: Float[Tensor, "heads samples keys head_dim"],
    *,
    visible: Bool[Tensor, "heads samples keys"] | None = None,
    scale: Float[Tensor, "heads"],
    sink: Float[Tensor, "heads"] | None = None,
) -> Float[Tensor, "heads samples head_dim"]:
    """Returns the output of `bucketed_window_attention` for the last position, given only its keys, in any order.

    Keys that are not `visible` (None: all are) are ignored; where none is, the output is zero. Sums are in float32 or
    better.

    Raises:
        UsageError: an argument's shape or dtype does not fit; the message names it.
    """
    for name, x in (("q", q), ("k", k), ("v", v), ("scale", scale), ("sink", sink)):
        if x is not None:
            require_tensor(name, x, FLOATS)
    require_axes("q", q, "heads samples head_dim")
    require_axes("k", k, "heads samples keys head_dim")
    (heads, samples, head_dim), keys = q.shape, k.shape[2]
    require_shape("k", k, (heads, samples, keys, head_dim), "the heads, samples and head_dim of q")
    require_shape("v", v, k.shape, "the shape of k")
    require_shape("scale", scale, (heads,), "[heads]")
    if sink is not None:
        require_shape("sink", sink, (heads,), "[heads]")
    if visible is not None:
        require_tensor("visible", visible, (torch.bool,))
        require_shape("visible", visible, (heads, samples, keys), "the shape of k but for head_dim")
    in_full = torch.promote_types(q.dtype, torch.float32)
    # Autocast would compute the products in half precision.
    with torch.autocast(q.device.type, enabled=False):
        scaled = q.to(in_full) * scale.to(in_full)[:, None, None]
        logits = (scaled[..., None, :] @ k.to(in_full).mT)[..., 0, :]
        if visible is not None:
            logits.masked_fill_(~visible, -torch.inf)
        if sink is not None:
            sink_logit = sink.to(in_full)[:, None, None].expand(*logits.shape[:2], 1)
            weights = torch.cat([logits, sink_logit], dim=-1).softmax(-1)[..., :-1]
        else:
            weights = logits.softmax(-1)
            if visible is not None:  # the softmax of a row without visible keys is NaN
                weights = weights.masked_fill(~visible, 0)
        return (weights[..., None, :] @ v.to(in_full))[..., 0, :].to(q.dtype)
