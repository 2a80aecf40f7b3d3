"""AdamW, or Muon with AdamW; weight decay applies to matrices only.

With `optimizer.sharded`, each rank keeps the state of some parameters, updates those, and broadcasts them to the others
(`ZeroRedundancyOptimizer`, after Rajbhandari et al., arXiv 1910.02054). The results are the same numbers.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from revlm.errors import StorageError
from revlm.model import RevLM
from revlm.recipe import Recipe
from revlm.training.optimization.eager import AdamW, EagerOptimizer
from revlm.training.optimization.muon import Muon
from revlm.training.ranks import Ranks

# The keys of the state that the optimizers keep for a parameter.
_STEP = "step"
_ADAMW, _MUON = (_STEP, "exp_avg", "exp_avg_sq"), ("momentum_buffer",)
_KEYS = (*_ADAMW, *_MUON)


def make_optimizer(model: RevLM, recipe: Recipe, ranks: Ranks) -> Optimizer:
    """Returns the recipe's optimizer of all weights.

    Gains, temperatures, sinks and the weights of predecessors have no weight decay.
    """
    if recipe.optimizer.name == "muon":
        return _muon_with_adamw(model, recipe)
    groups, options = _groups(list(model.parameters()), recipe), _adamw_options(recipe)
    if recipe.optimizer.sharded and ranks.world_size > 1:
        # Imported here because its import makes PyTorch compile dozens of other optimizers.
        from torch.distributed.optim import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer(groups, optimizer_class=AdamW, **options)
    return AdamW(groups, **options)


def optimizer_state(optimizer: Optimizer, model: nn.Module, ranks: Ranks) -> dict[str, Tensor]:
    """Returns the state of each parameter as `<parameter>.<key>`; if it is sharded, rank 0 gets all of it."""
    own = _own(optimizer)
    state = {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in own.state.get(parameter, {}).items()
    }
    return state if own is optimizer else ranks.gather_to_rank0(state)


def restore_optimizer(optimizer: Optimizer, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Restores what `optimizer_state` returned; a sharded optimizer takes its own part of it.

    Raises:
        StorageError: a tensor is missing or has another shape; fused kernels would read beyond its end.
    """
    _require_fit(model, state)
    own = _own(optimizer)
    parameters = {parameter for group in own.param_groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter in parameters:
            own.state[parameter] = {
                key.rpartition(".")[2]: value.clone().to(parameter.device)
                for key, value in state.items()
                if key.rpartition(".")[0] == name
            }


def _require_fit(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    parameters, found = dict(model.named_parameters()), set()
    for name, value in state.items():
        of, _, key = name.rpartition(".")
        shape = torch.Size() if key == _STEP else parameters[of].shape if of in parameters else None
        if key in _KEYS and value.shape == shape and value.dtype == torch.float32:
            found.add((of, key))
    whole = {(of, key) for of, _ in found for key in (_MUON if (of, *_MUON) in found else _ADAMW)}
    if len(found) != len(state) or found != whole:
        raise StorageError(
            "the optimizer's state in the checkpoint does not fit the weights: restore the checkpoint, or resume from "
            "another one"
        )


def _own(optimizer: Optimizer) -> Optimizer:
    """The optimizer of this rank's own parameters."""
    return getattr(optimizer, "optim", optimizer)


def moment_bytes(optimizer: Optimizer) -> int:
    """Returns the bytes of an optimizer's state, even before it is allocated: AdamW keeps two moments, Muon one."""
    return sum(
        (1 if "momentum" in group else 2) * parameter.nbytes
        for group in optimizer.param_groups
        for parameter in group["params"]
    )


class MuonWithAdamW(EagerOptimizer):
    """Muon for some matrices and AdamW for the other weights, with one state and one list of parameter groups."""

    def __init__(self, muon: Muon, adamw: AdamW) -> None:
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._parts = (muon, adamw)
        for part in self._parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates every weight that has a gradient."""
        for part in self._parts:
            part.step()


def _groups(parameters: list[nn.Parameter], recipe: Recipe) -> list[dict[str, Any]]:
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.optimizer.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def _adamw_options(recipe: Recipe) -> dict[str, Any]:
    """The options of fused AdamW (Loshchilov and Hutter, arXiv 1711.05101)."""
    return {
        "lr": recipe.optimizer.lr,
        "betas": recipe.optimizer.betas,
        "eps": recipe.optimizer.eps,
        "fused": True,
    }


def _muon_with_adamw(model: RevLM, recipe: Recipe) -> MuonWithAdamW:
    """Returns Muon for the layers' matrices, and AdamW for embedding, head and all parameters that are not matrices."""
    matrices = [parameter for parameter in model.stack.parameters() if parameter.dim() == 2]
    of_muon = {id(parameter) for parameter in matrices}
    muon = Muon(matrices, lr=recipe.optimizer.lr, weight_decay=recipe.optimizer.weight_decay)
    others = [parameter for parameter in model.parameters() if id(parameter) not in of_muon]
    return MuonWithAdamW(muon, AdamW(_groups(others, recipe), **_adamw_options(recipe)))
