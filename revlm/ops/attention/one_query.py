"""Attention of one query a row to keys that were gathered for it: what decoding needs, one token at a time."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def one_query_attention(
    q: Float[Tensor, "heads samples head_dim"],
    k: Float[Tensor, "heads samples keys head_dim"],
    v: Float[Tensor, "heads samples keys head_dim"],
    *,
    visible: Bool[Tensor, "heads samples keys"] | None = None,
    scale: Float[Tensor, "heads"],
    sink: Float[Tensor, "heads"] | None = None,
) -> Float[Tensor, "heads samples head_dim"]:
    """Returns what `bucketed_window_attention` gives for the last position, from its keys alone, in any order.

    Keys that are not `visible` (None: all are) do not count; where none is, the output is zero. Sums are in float32 or
    better.
    """
    in_full = torch.promote_types(q.dtype, torch.float32)
    # Autocast would turn the products into half-precision ones.
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
            if visible is not None:  # a row without any key is NaN
                weights = weights.masked_fill(~visible, 0)
        return (weights[..., None, :] @ v.to(in_full))[..., 0, :].to(q.dtype)
