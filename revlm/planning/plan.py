"""Plans a run's memory from its recipe alone."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from revlm.launch import ALONE, Launch
from revlm.planning.allocator import PROCESS_BYTES, add_beside_tensors, categories_in_heap, tile_holes
from revlm.planning.ledger import CATEGORIES
from revlm.planning.sizes import sizes_of
from revlm.planning.step import replay_step
from revlm.recipe import Recipe

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Plan:
    """The memory of a training step after the first.

    Attributes:
        seq_len: tokens of an example.
        peaks: for each phase, the bytes of each category at its peak, excluding `process_bytes`.
        process_bytes: what the process holds before there is a model, on the same device.
    """

    seq_len: int
    peaks: dict[str, dict[str, int]]
    process_bytes: int

    def phase_bytes(self, phase: str) -> int:
        """Returns the peak of a phase, excluding `process_bytes`."""
        return sum(self.peaks[phase].values())

    @property
    def fullest_phase(self) -> str:
        """The phase with the highest peak."""
        return max(self.peaks, key=self.phase_bytes)

    @property
    def peak_bytes(self) -> int:
        """The peak of the step, excluding `process_bytes`."""
        return self.phase_bytes(self.fullest_phase)

    @property
    def total_bytes(self) -> int:
        """The peak of the step, including `process_bytes`: the number that is compared with a limit."""
        return self.process_bytes + self.peak_bytes

    @property
    def largest_category(self) -> tuple[str, int]:
        """The label and the bytes of the largest category at the step's peak."""
        at_peak = self.peaks[self.fullest_phase]
        category = max(at_peak, key=lambda name: at_peak[name])
        return CATEGORIES[category], at_peak[category]

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as stored in a run folder, with the labels of its categories."""
        return {
            "seq_len": self.seq_len,
            "process_bytes": self.process_bytes,
            "peaks": self.peaks,
            "categories": CATEGORIES,
        }


def plan_memory(recipe: Recipe, vocab_size: int, device: "torch.device | str", launch: Launch = ALONE) -> Plan:
    """Returns the plan of a recipe's run from the recipe and the vocabulary size, for examples of the full seq_len.

    It is the plan of one process of the launch.
    """
    kind = str(device).partition(":")[0]
    sizes = sizes_of(recipe, vocab_size, kind, launch)
    ledger = replay_step(sizes, categories_in_heap(sizes), partial(tile_holes, sizes))
    add_beside_tensors(ledger, sizes)
    return Plan(recipe.data.seq_len, ledger.peaks, PROCESS_BYTES[kind])
