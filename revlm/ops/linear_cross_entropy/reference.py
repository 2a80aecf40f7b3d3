"""The gradients of cross-entropies with PyTorch's operations."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def softmax_gradient_(logits: Float[Tensor, "rows classes"], targets: Int[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """Returns the cross-entropies, float64 [rows], and replaces the logits by their gradients; float32 or better."""
    target = targets[:, None]
    in_full = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_sum_exp = in_full.logsumexp(-1, keepdim=True)
    losses = (log_sum_exp - in_full.gather(1, target)).double()[:, 0]
    gradient = (in_full - log_sum_exp).exp_()
    gradient.scatter_add_(1, target, gradient.new_full(target.shape, -1.0))
    logits.copy_(gradient)
    return losses
