"""The training step of a benchmarked system; `revlm.training.step` takes revlm's own model only."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from bench.systems import SYSTEMS, Loss

LEARNING_RATE = 3e-4
MAX_GRADIENT_NORM = 1.0


def forward_backward(
    system: str,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    precision: str,
    phase: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
) -> Tensor:
    """Computes the gradients of one example; returns the loss in nats per token."""
    half, caches_casts = precision == "bf16", SYSTEMS[system].caches_casts
    with (
        phase("forward"),
        torch.autocast(inputs.device.type, torch.bfloat16, enabled=half, cache_enabled=caches_casts),
    ):
        nats = loss(inputs, targets)
    with phase("backward"):
        nats.backward()
    return nats.detach()


def make_optimizer(model: nn.Module) -> Optimizer:
    """Returns the optimizer of every system."""
    return AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)


def apply_gradients(model: nn.Module, optimizer: Optimizer) -> None:
    """Clips the gradients and updates the weights."""
    nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
