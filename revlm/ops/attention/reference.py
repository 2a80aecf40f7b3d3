"""The definition of bucketed window attention: a dense mask, time and memory quadratic in the tokens."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from revlm.ops.attention.arguments import Arguments, Delta


def window_mask(
    bucket: Int[Tensor, "rows rounds tokens"], window: int, include_self: bool
) -> Bool[Tensor, "rows tokens tokens"]:
    """Returns whether position t (dimension 1) sees position s (dimension 2): the union of S_r(t) over the rounds."""
    tokens = bucket.shape[-1]
    earlier = torch.ones(tokens, tokens, dtype=torch.bool, device=bucket.device).tril(0 if include_self else -1)
    candidate = (bucket[..., :, None] == bucket[..., None, :]) & earlier
    candidates_from_here_on = candidate.flip(-1).cumsum(-1).flip(-1)
    return (candidate & (candidates_from_here_on <= window)).any(dim=1)


def takes(arguments: Arguments) -> bool:
    """Returns whether the backend supports the arguments; it supports any."""
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
    """Returns the attention output and log-sum-exp; see `revlm.ops.attention.attention_with_log_sum_exp`.

    The arguments are those of `Arguments`. `block`, `may_overwrite` and `delta` have no effect: autograd
    keeps the weights, not the output.
    """
    rows, queries, tokens = q.shape[0], q.shape[1], k.shape[1]
    mask = window_mask(bucket, window, include_self)[:, tokens - queries :]
    factor = scale.to(q.dtype)[:, None, None]
    logits = (factor * (q @ k.transpose(1, 2))).masked_fill(~mask, -torch.inf)
    nothing = q.new_full((rows,), -torch.inf)
    sink_logit = (nothing if sink is None else sink.to(q.dtype))[:, None, None].expand(rows, queries, 1)
    all_logits = torch.cat([logits, sink_logit], dim=-1)
    # The gradient of an empty log-sum-exp is NaN, so these rows are replaced first.
    nothing_seen = (all_logits == -torch.inf).all(dim=-1)
    log_sum_exp = all_logits.masked_fill(nothing_seen[..., None], 0.0).logsumexp(dim=-1)
    log_sum_exp = log_sum_exp.masked_fill(nothing_seen, torch.inf)
    weights = torch.exp(logits - log_sum_exp[..., None])
    return weights @ v, log_sum_exp.detach()
