"""The gradients of cross-entropies in one pass over the logits, compiled for the machine's CPU."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import CrossEntropy

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def takes(logits: Tensor) -> bool:
    """Returns whether the backend supports these logits."""
    return logits.dtype in _NAMES


def softmax_gradient_(logits: Float[Tensor, "rows classes"], targets: Int[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """Computes `reference.softmax_gradient_`."""
    losses = torch.empty(logits.shape[0], dtype=torch.float64)
    targets = targets.contiguous()
    problem = CrossEntropy(
        *logits.shape, torch.get_num_threads(), logits.data_ptr(), targets.data_ptr(), losses.data_ptr()
    )
    library.call(f"cross_entropy_{_NAMES[logits.dtype]}", problem, "the loss")
    return losses
