"""The optimizer of the rivals, and one step of it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from revlm.training.optimization.muon import Muon

_WEIGHT_DECAY, _LARGEST_NORM = 0.1, 1.0


def adamw(model: nn.Module) -> list[Optimizer]:
    """Returns AdamW for all weights; gains and biases do not decay."""
    return [_adamw(list(model.parameters()))]


def muon_with_adamw(model: nn.Module, is_hidden: Callable[[str], bool]) -> list[Optimizer]:
    """Returns Muon for the matrices whose names are those of hidden layers, and AdamW for the other weights.

    Muon is revlm's, with the updates of PyTorch's, which takes up to 90 times as long on a CPU without bf16.
    """
    named = dict(model.named_parameters())
    hidden = {name for name, parameter in named.items() if parameter.dim() == 2 and is_hidden(name)}
    muon = Muon([named[name] for name in hidden], lr=0.0, weight_decay=_WEIGHT_DECAY)  # `descend` sets the rate
    return [muon, _adamw([parameter for name, parameter in named.items() if name not in hidden])]


def descend(model: nn.Module, loss: Tensor, optimizers: Sequence[Optimizer], learning_rate: float) -> None:
    """Takes one step, with gradients clipped to a norm of 1."""
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_NORM)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _adamw(parameters: Sequence[nn.Parameter]) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": _WEIGHT_DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, betas=(0.9, 0.95), fused=True)
