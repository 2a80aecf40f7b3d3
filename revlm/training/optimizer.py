"""AdamW, or Muon beside it; decay of the matrices alone, and a learning rate that is a pure function of the step."""

import math
from collections.abc import Callable

import torch
import torch._dynamo  # the optimizers load it when they are made: here it counts as an import, not as memory of a step
from torch import nn

from revlm.model import RevLM
from revlm.recipe import Recipe

_MUON_MOMENTUM = 0.95


def make_optimizer(model: RevLM, recipe: Recipe) -> torch.optim.Optimizer:
    """Returns the optimizer that a recipe names, of all weights; gains, temperatures and sinks do not decay."""
    return _OPTIMIZERS[recipe.optimizer.name](model, recipe)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Returns the learning rate of a step, from 1: linear warm-up, then half a cosine down to the least ratio."""
    warmup, least = recipe.lr_scheduler.warmup_steps, recipe.lr_scheduler.min_lr_ratio
    if step <= warmup:
        return recipe.optimizer.lr * step / warmup
    progress = (step - warmup) / max(recipe.train.max_steps - warmup, 1)
    return recipe.optimizer.lr * (least + (1 - least) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2)


def moment_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Returns the bytes of an optimizer's state, also before it is made: AdamW keeps two moments, Muon one."""
    return sum(
        (1 if "momentum" in group else 2) * parameter.nbytes
        for group in optimizer.param_groups
        for parameter in group["params"]
    )


class MuonBesideAdamW(torch.optim.Optimizer):
    """Muon for some matrices and AdamW for the other weights, with one state and one list of groups.

    Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) makes the momentum of a matrix orthogonal, so
    that a step changes all its directions alike. Updates are scaled to the size of AdamW's (Liu et al., arXiv
    2502.16982, section 2.2): both share learning rate and decay.
    """

    def __init__(self, muon: torch.optim.Muon, adamw: torch.optim.AdamW) -> None:
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._parts = (muon, adamw)
        for part in self._parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates every weight that has a gradient."""
        for part in self._parts:
            part.step()


def _adamw(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.optimizer.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=recipe.optimizer.lr, betas=recipe.optimizer.betas, eps=recipe.optimizer.eps, fused=True
    )


def _adamw_of_all(model: RevLM, recipe: Recipe) -> torch.optim.AdamW:
    """Returns fused AdamW (Loshchilov and Hutter, arXiv 1711.05101)."""
    return _adamw(list(model.parameters()), recipe)


def _muon_beside_adamw(model: RevLM, recipe: Recipe) -> MuonBesideAdamW:
    """Returns Muon for the matrices of the layers; embedding, head and all that is no matrix are AdamW's."""
    matrices = [parameter for parameter in model.stack.parameters() if parameter.dim() == 2]
    of_muon = {id(parameter) for parameter in matrices}
    muon = torch.optim.Muon(
        matrices,
        lr=recipe.optimizer.lr,
        weight_decay=recipe.optimizer.weight_decay,
        momentum=_MUON_MOMENTUM,
        adjust_lr_fn="match_rms_adamw",
    )
    return MuonBesideAdamW(muon, _adamw([p for p in model.parameters() if id(p) not in of_muon], recipe))


_OPTIMIZERS: dict[str, Callable[[RevLM, Recipe], torch.optim.Optimizer]] = {
    "adamw": _adamw_of_all,
    "muon": _muon_beside_adamw,
}
