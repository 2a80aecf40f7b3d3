"""Whether a planned step fits the available memory, the longest examples that do, and out-of-memory errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from revlm.errors import ResourceError, is_out_of_memory
from revlm.launch import ALONE, Launch
from revlm.planning.plan import plan_memory
from revlm.recipe import Recipe
from revlm.records import MemoryPlan
from revlm.runs import MemoryLimit, choose_device, memory_limit

# Proposed lengths are multiples of this many tokens, up to the longest that a recipe allows.
_GRANULE, _LONGEST = 1024, 2**24


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


def longest_seq_len(
    recipe: Recipe, vocab_size: int, device: torch.device | str, limit_bytes: int, launch: Launch = ALONE
) -> int:
    """Returns the largest multiple of 1,024 for `data.seq_len` whose plan stays within a limit; 0 where none does."""
    fitting, beyond = 0, _LONGEST // _GRANULE + 1
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        plan = plan_memory(_with_seq_len(recipe, middle * _GRANULE), vocab_size, device, launch)
        if plan.total_bytes <= limit_bytes:
            fitting = middle
        else:
            beyond = middle
    return fitting * _GRANULE


def planning_limit(recipe: Recipe, device: torch.device | str, launch: Launch = ALONE) -> MemoryLimit:
    """Returns the memory that a process may plan for: `memory.limit`, capped by the device or the control group.

    The processes of a machine share its memory; each has a GPU of its own.
    """
    limit = memory_limit(device)
    if launch.local_world_size > 1 and not str(device).startswith("cuda"):
        shared = f"{limit.owner}, for each of {launch.local_world_size} processes,"
        limit = MemoryLimit(limit.size_bytes // launch.local_world_size, shared)
    if recipe.memory.limit is not None and recipe.memory.limit <= limit.size_bytes:
        return MemoryLimit(recipe.memory.limit, "memory.limit allows")
    return limit


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


def require_memory(
    recipe: Recipe,
    vocab_size: int,
    device: torch.device | str,
    longest_example: int | None = None,
    launch: Launch = ALONE,
) -> MemoryPlan:
    """Returns the plan of a run, after checking that it stays within `planning_limit`.

    `longest_example` is the number of tokens of the longest example, if all are shorter than `data.seq_len`.

    Raises:
        ResourceError: the plan exceeds the limit; the message names the largest category, and the longest examples that
            would fit.
    """
    if longest_example is not None:
        recipe = _with_seq_len(recipe, min(longest_example, recipe.data.seq_len))
    plan, limit = plan_memory(recipe, vocab_size, device, launch), planning_limit(recipe, device, launch)
    if plan.total_bytes <= limit.size_bytes:
        return plan
    longest = longest_seq_len(recipe, vocab_size, device, limit.size_bytes, launch)
    raise ResourceError(
        f"a step on {plan.seq_len:,} tokens needs {_gigabytes(plan.total_bytes)} ({_most(plan)}) and {limit.owner} "
        f"{_gigabytes(limit.size_bytes)}: {_remedy(longest, plan, limit.size_bytes)}"
    )


@contextmanager
def out_of_memory_explained(
    plan: MemoryPlan,
    recipe: Recipe,
    vocab_size: int,
    device: torch.device | str,
    attainable_bytes: Callable[[], int],
    snapshot: Path | None = None,
    launch: Launch = ALONE,
) -> Iterator[None]:
    """Turns an out-of-memory error in the block into a ResourceError with a remedy.

    `attainable_bytes` returns the memory that was available to the run when it ran out; the message names the
    `snapshot` where it exists.

    Raises:
        ResourceError: memory ran out; the message names the largest category, and the longest examples that would fit.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        # CUDA does not count its context, which is part of the plan, in a process's memory.
        beside = plan.process_bytes if str(device).startswith("cuda") else 0
        attainable = attainable_bytes() + beside
        # The planned step did not fit, even if the plan says that it should.
        fitting = longest_seq_len(recipe, vocab_size, device, min(attainable, plan.total_bytes - 1), launch)
        seen = f"; {snapshot} opens in https://pytorch.org/memory_viz" if snapshot and snapshot.is_file() else ""
        raise ResourceError(
            f"out of memory with {_gigabytes(attainable)} available: a step on {plan.seq_len:,} tokens is planned to "
            f"need {_gigabytes(plan.total_bytes)} ({_most(plan)}), so {_remedy(fitting, plan, attainable)}{seen}"
        ) from error


def _most(plan: MemoryPlan) -> str:
    name, size_bytes = plan.largest_category
    return f"most of it {name}, {_gigabytes(size_bytes)}"


def _remedy(longest: int, plan: MemoryPlan, available_bytes: int) -> str:
    if longest:
        return f"lower data.seq_len to {longest:,} or less"
    if available_bytes <= plan.process_bytes:
        return f"raise the limit: the process alone takes {_gigabytes(plan.process_bytes)}"
    return f"not even {_GRANULE:,} tokens fit, so lower model.d_model or model.n_layers"


def _with_seq_len(recipe: Recipe, seq_len: int) -> Recipe:
    return recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"seq_len": seq_len, "seq_len_schedule": None})}
    )


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 10**9:.2f} GB"
