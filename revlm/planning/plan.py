"""The plan of a run's memory, whether it fits, and the longest examples that would."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from revlm.errors import ResourceError
from revlm.planning.allocator import PROCESS_BYTES, add_allocator, tile_holes
from revlm.planning.ledger import CATEGORIES
from revlm.planning.sizes import sizes_of
from revlm.planning.step import replay_step
from revlm.recipe import Recipe
from revlm.runs import memory_limit_bytes

if TYPE_CHECKING:
    import torch

# Lengths that are proposed are multiples of this many tokens, up to the longest that a recipe may ask for.
_GRANULE, _LONGEST = 1024, 2**24


@dataclass(frozen=True)
class Plan:
    """The memory of a training step after the first.

    Attributes:
        seq_len: tokens of an example.
        peaks: for each phase, the bytes of each category at its fullest moment, beyond `process_bytes`.
        process_bytes: what the process holds before there is a model, on the same device.
    """

    seq_len: int
    peaks: dict[str, dict[str, int]]
    process_bytes: int

    def phase_bytes(self, phase: str) -> int:
        """The peak of a phase, beyond the process."""
        return sum(self.peaks[phase].values())

    @property
    def fullest_phase(self) -> str:
        """The phase that holds the most."""
        return max(self.peaks, key=self.phase_bytes)

    @property
    def peak_bytes(self) -> int:
        """The peak of the step, beyond the process."""
        return self.phase_bytes(self.fullest_phase)

    @property
    def total_bytes(self) -> int:
        """The peak of the step, the process included: what a limit is held against."""
        return self.process_bytes + self.peak_bytes

    @property
    def largest_category(self) -> tuple[str, int]:
        """What holds the most at the step's peak, in words, and its bytes."""
        at_peak = self.peaks[self.fullest_phase]
        category = max(at_peak, key=lambda name: at_peak[name])
        return CATEGORIES[category], at_peak[category]


def plan_memory(recipe: Recipe, vocab_size: int, device: "torch.device | str") -> Plan:
    """Returns the plan of a recipe's run from the recipe and the vocabulary alone, for examples of the full seq_len."""
    kind = str(device).partition(":")[0]
    sizes = sizes_of(recipe, vocab_size, kind)
    ledger = replay_step(sizes, partial(tile_holes, sizes))
    add_allocator(ledger, sizes)
    return Plan(recipe.data.seq_len, ledger.peaks, PROCESS_BYTES[kind])


def longest_seq_len(recipe: Recipe, vocab_size: int, device: "torch.device | str", limit_bytes: int) -> int:
    """Returns the largest `data.seq_len`, a multiple of 1,024, whose plan stays within a limit; 0 where none does."""
    fitting, beyond = 0, _LONGEST // _GRANULE + 1
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        if plan_memory(_with_seq_len(recipe, middle * _GRANULE), vocab_size, device).total_bytes <= limit_bytes:
            fitting = middle
        else:
            beyond = middle
    return fitting * _GRANULE


def planning_limit_bytes(recipe: Recipe, device: "torch.device | str") -> int:
    """Returns the bytes that a run may plan for: `memory.limit`, but not more than the machine has."""
    machine = memory_limit_bytes(device)
    return machine if recipe.memory.limit is None else min(recipe.memory.limit, machine)


def require_memory(
    recipe: Recipe, vocab_size: int, device: "torch.device | str", longest_example: int | None = None
) -> None:
    """Returns where the plan of a run stays within `memory.limit` and what the machine has.

    `longest_example` is the tokens of the longest example, where the corpus has none of `data.seq_len`.

    Raises:
        ResourceError: it does not; names what holds the most, and the longest examples that would fit.
    """
    if longest_example is not None:
        recipe = _with_seq_len(recipe, min(longest_example, recipe.data.seq_len))
    plan, limit = plan_memory(recipe, vocab_size, device), planning_limit_bytes(recipe, device)
    if plan.total_bytes <= limit:
        return
    owner = "memory.limit allows" if limit == recipe.memory.limit else "this machine has"
    name, most = plan.largest_category
    longest = longest_seq_len(recipe, vocab_size, device, limit)
    remedy = (
        f"lower data.seq_len to {longest:,} or less"
        if longest
        else f"not even {_GRANULE:,} tokens fit, so lower model.d_model or model.n_layers"
    )
    raise ResourceError(
        f"a step on {plan.seq_len:,} tokens needs {_gigabytes(plan.total_bytes)} (the most is {name}, "
        f"{_gigabytes(most)}) and {owner} {_gigabytes(limit)}: {remedy}"
    )


def _with_seq_len(recipe: Recipe, seq_len: int) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"seq_len": seq_len})})


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 10**9:.2f} GB"
