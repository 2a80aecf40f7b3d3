"""Exact attention through PyTorch's `scaled_dot_product_attention`, with memory linear in the number of tokens."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

SINK_WIDTH = 2
"""Elements by which a sink makes vectors wider: its logit is the sum of two, since one in half precision is rounded."""

# Elements of the mask of a group of queries and all keys before them.
_MASK_ELEMENTS = 2**24
# On CUDA, the kernels whose memory is linear take vectors of a multiple of so many elements.
_CUDA_WIDTH = 8


def exact_attention(
    q: Float[Tensor, "rows queries head_dim"],
    k: Float[Tensor, "rows tokens head_dim"],
    v: Float[Tensor, "rows tokens head_dim"],
    *,
    scale: Float[Tensor, "rows"],
    sink: Float[Tensor, "rows"] | None = None,
) -> Float[Tensor, "rows queries head_dim"]:
    """Returns each query's attention to all keys before it, and without a sink also to that of its own position.

    With fewer queries than tokens, the queries are the last positions. The result is that of
    `bucketed_window_attention` with one bucket, a window of all tokens and `include_self` exactly if there is no sink.
    With a sink the first position attends to nothing, so its output is zero. The result has the dtype of v, to which
    the scaled queries are rounded.
    """
    head_dim = q.shape[2]
    q = (q * scale[:, None, None]).to(v.dtype)
    if sink is not None:
        q, k, v = _with_sink_as_a_key(q, k, v, sink)
    if q.shape[1] == k.shape[1]:
        out = scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, scale=1.0)[0]
    else:
        out = _of_the_last(q, k, v)
    return out[..., :head_dim]


def _with_sink_as_a_key(q: Tensor, k: Tensor, v: Tensor, sink: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns wider q, k and v, where the key of position t - 1 is at place t and that of the sink at place 0.

    So a causal mask, which lets a query see its own place, shows it the sink and the keys before it. All queries have
    the same product with the sink's key, its logit; its value is zero, and the last position's key is not needed.
    """
    width = q.shape[2] + SINK_WIDTH
    if q.device.type == "cuda":
        width = -(-width // _CUDA_WIDTH) * _CUDA_WIDTH
    more = width - q.shape[2]
    high = sink.to(v.dtype)
    logit = torch.stack([high, (sink - high).to(v.dtype)], dim=-1)
    sink_key = pad(logit, (q.shape[2], more - SINK_WIDTH))[:, None]
    q = pad(pad(q, (0, SINK_WIDTH), value=1.0), (0, more - SINK_WIDTH))
    return q, torch.cat([sink_key, pad(k[:, :-1], (0, more))], dim=1), pad(v[:, :-1], (0, more, 1, 0))


def _of_the_last(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Returns the causal attention of the last positions, for a group of queries at a time."""
    first = k.shape[1] - q.shape[1]
    some = max(1, _MASK_ELEMENTS // k.shape[1])
    out = torch.empty_like(q)
    for start in range(0, q.shape[1], some):
        stop = min(start + some, q.shape[1])
        keys = first + stop
        seen = torch.ones(stop - start, keys, dtype=torch.bool, device=q.device).tril_(first + start)
        out[:, start:stop] = scaled_dot_product_attention(
            q[None, :, start:stop], k[None, :, :keys], v[None, :, :keys], attn_mask=seen, scale=1.0
        )[0]
    return out
