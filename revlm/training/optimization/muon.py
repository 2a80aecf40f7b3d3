"""Muon: momentum whose matrices are orthogonalized, so that a step changes all their directions equally.

After Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon). `torch.optim.Muon` computes the same numbers, but
always in bf16: on a CPU that does not multiply it natively, that takes up to 90 times as long as float32.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.precision import multiplies_bf16
from revlm.training.optimization.eager import EagerOptimizer

_MOMENTUM = 0.95
# A quintic polynomial that takes singular values up to 1 to between 0.7 and 1.2 in five steps.
_COEFFICIENTS, _STEPS = (3.4445, -4.7750, 2.0315), 5
_SMALLEST_NORM = 1e-7
# The root mean square of AdamW's updates (Liu et al., arXiv 2502.16982, section 2.2): with updates of that size both
# share the learning rate and the weight decay.
_UPDATE_RMS = 0.2


class Muon(EagerOptimizer):
    """Muon with Nesterov momentum for matrices, with updates as large as AdamW's."""

    def __init__(self, matrices: Iterable[nn.Parameter], *, lr: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": _MOMENTUM})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    _update(matrix, self.state[matrix], group)


def orthogonalized(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Returns about `U V'` of the singular value decomposition `U S V'`, by Newton-Schulz iterations.

    They are computed in bf16, which is what is returned, where the device multiplies it natively, else in float32.
    """
    dtype = torch.bfloat16 if multiplies_bf16(matrix.device) else torch.float32
    wide = matrix.shape[0] <= matrix.shape[1]
    result = matrix.to(dtype, copy=True) if wide else matrix.to(dtype, copy=True).T
    result.div_(result.norm().clamp(min=_SMALLEST_NORM))
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = result @ result.T
        result = torch.addmm(result, torch.addmm(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return result if wide else result.T


def _update(matrix: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    assert matrix.grad is not None
    if not state:
        state["momentum_buffer"] = torch.zeros_like(matrix.grad)
    momentum = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
    update = orthogonalized(matrix.grad.lerp(momentum, group["momentum"]))
    matrix.mul_(1 - group["lr"] * group["weight_decay"])
    matrix.add_(update, alpha=-group["lr"] * (_UPDATE_RMS * max(matrix.shape) ** 0.5))
