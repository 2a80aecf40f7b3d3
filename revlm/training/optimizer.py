"""AdamW with decay of the matrices alone, and a learning rate that is a pure function of the step."""

import math

import torch
import torch._dynamo  # AdamW loads it when it is made: here it counts as an import, not as the memory of a step
from torch import nn

from revlm.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Returns fused AdamW (Loshchilov and Hutter, arXiv 1711.05101); gains, temperatures and sinks do not decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.optimizer.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=recipe.optimizer.lr, betas=recipe.optimizer.betas, eps=recipe.optimizer.eps, fused=True
    )


def learning_rate(recipe: Recipe, step: int) -> float:
    """Returns the learning rate of a step, from 1: linear warm-up, then half a cosine down to the least ratio."""
    warmup, least = recipe.lr_scheduler.warmup_steps, recipe.lr_scheduler.min_lr_ratio
    if step <= warmup:
        return recipe.optimizer.lr * step / warmup
    progress = (step - warmup) / max(recipe.train.max_steps - warmup, 1)
    return recipe.optimizer.lr * (least + (1 - least) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2)
