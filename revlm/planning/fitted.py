"""A recipe's plan beside the memory of the machine that it is planned for."""

from typing import NamedTuple

import torch

from revlm.planning.fitting import longest_seq_len, planning_limit
from revlm.planning.plan import plan_memory
from revlm.recipe import Recipe
from revlm.records import MemoryPlan
from revlm.runs import MemoryLimit, choose_device


class FittedPlan(NamedTuple):
    """A plan, and the limit that it is compared with; the fields after `plan` are None if the limit is unknown.

    Attributes:
        device: the type of the device.
        longest_seq_len: the longest `data.seq_len` that fits, a multiple of 1,024; 0 if not even 1,024 tokens fit.
    """

    device: str
    plan: MemoryPlan
    limit: MemoryLimit | None
    longest_seq_len: int | None

    @property
    def fits(self) -> bool | None:
        """Whether the plan stays within the limit."""
        return None if self.limit is None else self.plan.total_bytes <= self.limit.size_bytes


def fit_plan(recipe: Recipe, vocab_size: int) -> FittedPlan:
    """Returns the plan of a recipe, and whether it fits this machine or `memory.limit`.

    A recipe for CUDA can be planned on a machine without CUDA; only `memory.limit` then sets a limit.
    """
    device, limit = _device_and_limit(recipe)
    plan = plan_memory(recipe, vocab_size, device)
    longest = None if limit is None else longest_seq_len(recipe, vocab_size, device, limit.size_bytes)
    return FittedPlan(device, plan, limit, longest)


def _device_and_limit(recipe: Recipe) -> tuple[str, MemoryLimit | None]:
    word = recipe.train.device
    if word.startswith("cuda") and not torch.cuda.is_available():
        given = recipe.memory.limit
        return "cuda", None if given is None else MemoryLimit(given, "memory.limit allows")
    device = choose_device(word)
    return device.type, planning_limit(recipe, device)
