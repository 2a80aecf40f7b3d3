"""Plans the memory of a run from its recipe alone."""

from functools import partial
from typing import TYPE_CHECKING

from revlm.launch import ALONE, Launch
from revlm.planning.allocator import PROCESS_BYTES, add_beside_tensors, categories_in_heap, tile_holes
from revlm.planning.ledger import CATEGORIES
from revlm.planning.sizes import sizes_of
from revlm.planning.step import replay_step
from revlm.planning.traffic import sent_bytes
from revlm.recipe import Recipe
from revlm.records import MemoryPlan

if TYPE_CHECKING:
    import torch


def plan_memory(recipe: Recipe, vocab_size: int, device: "torch.device | str", launch: Launch = ALONE) -> MemoryPlan:
    """Returns the memory plan of one process of the launch, for examples of the full `data.seq_len`."""
    kind = str(device).partition(":")[0]
    sizes = sizes_of(recipe, vocab_size, kind, launch)
    ledger = replay_step(sizes, categories_in_heap(sizes), partial(tile_holes, sizes))
    add_beside_tensors(ledger, sizes)
    return MemoryPlan(
        seq_len=recipe.data.seq_len,
        process_bytes=PROCESS_BYTES[kind],
        peaks=ledger.peaks,
        categories=CATEGORIES,
        sequence_parallel=sizes.sequence_ranks,
        sent_bytes=sent_bytes(sizes),
    )
