"""AdamW with decay of the matrices alone, and a learning rate that is a pure function of the step.

Its state is three tensors a parameter, two of them as large as the parameter. Where the recipe asks for it, each of
several ranks keeps the state of some parameters, updates those, and gives them to the others
(`ZeroRedundancyOptimizer`, after Rajbhandari et al., arXiv 1910.02054): the same numbers.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from revlm.recipe import Recipe
from revlm.training.ranks import Ranks


def make_optimizer(model: nn.Module, recipe: Recipe, ranks: Ranks) -> Optimizer:
    """Returns fused AdamW (Loshchilov and Hutter, arXiv 1711.05101); gains, temperatures and sinks do not decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.optimizer.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {
        "lr": recipe.optimizer.lr,
        "betas": recipe.optimizer.betas,
        "eps": recipe.optimizer.eps,
        "fused": True,
    }
    if recipe.optimizer.sharded and ranks.count > 1:
        # Loaded where it is used: PyTorch compiles dozens of other optimizers while it does.
        from torch.distributed.optim import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer(groups, optimizer_class=AdamW, **options)
    return AdamW(groups, **options)


def optimizer_state(optimizer: Optimizer, model: nn.Module, ranks: Ranks) -> dict[str, Tensor]:
    """Returns the state of each parameter as `<parameter>.<key>`; where it is sharded, the first rank has all of it."""
    own = _own(optimizer)
    state = {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in own.state.get(parameter, {}).items()
    }
    return state if own is optimizer else ranks.bring_to_first(state)


def restore_optimizer(optimizer: Optimizer, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Takes up what `optimizer_state` gave; a sharded one its part of it, whoever gave it."""
    own = _own(optimizer)
    parameters = {parameter for group in own.param_groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter in parameters:
            own.state[parameter] = {
                key.rpartition(".")[2]: value.clone().to(parameter.device)
                for key, value in state.items()
                if key.rpartition(".")[0] == name
            }


def _own(optimizer: Optimizer) -> Optimizer:
    """The optimizer of the parameters that are this rank's."""
    return getattr(optimizer, "optim", optimizer)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Returns the learning rate of a step, from 1: linear warm-up, then half a cosine down to the least ratio."""
    warmup, least = recipe.lr_scheduler.warmup_steps, recipe.lr_scheduler.min_lr_ratio
    if step <= warmup:
        return recipe.optimizer.lr * step / warmup
    progress = (step - warmup) / max(recipe.train.max_steps - warmup, 1)
    return recipe.optimizer.lr * (least + (1 - least) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2)
