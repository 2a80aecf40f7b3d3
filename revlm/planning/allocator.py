"""What a process holds beside its tensors: its libraries, and freed memory that no later tensor fits into.

The constants below were measured on Linux with PyTorch 2.13; `revlm plan --sweep ... --measure` shows plan and
measurement side by side.
"""

from revlm.planning.ledger import Ledger
from revlm.planning.sizes import FULL_BYTES, Sizes
from revlm.planning.stages import stages
from revlm.runs.heap import LARGE_BLOCK_BYTES

_MIB = 2**20

PROCESS_BYTES = {"cpu": 375 * _MIB, "cuda": 512 * _MIB}
"""What a process holds before there is a model: on the CPU Python and PyTorch (the `memory_baseline_bytes` of a run),
on CUDA the context, which is outside of what PyTorch's allocator counts."""

# Code pages and buffers of the math libraries, first touched in a step; on CUDA the work space of cuBLAS.
_LIBRARIES_BYTES = {"cpu": 36 * _MIB, "cuda": 32 * _MIB}

# Of the activations of the stored mode, the share by which small blocks between them keep holes from closing.
_KEPT_HOLES = 0.1


def add_allocator(ledger: Ledger, sizes: Sizes) -> None:
    """Adds to each phase's peak what the process holds beside its tensors.

    On the CPU memory freed by blocks of the heap stays resident to the step's end: a phase holds what the fullest one
    left. And a hole does not take an aligned block of its own size again (glibc asks for a little more), so that the
    temporary tensors of tiles and of the loss are there about twice. Larger blocks go back to the system. On CUDA the
    caching allocator's numbers are those of tensors.
    """
    for peak in ledger.peaks.values():
        peak["libraries"] = _LIBRARIES_BYTES[sizes.device_kind]
    if sizes.device_kind != "cpu":
        return
    in_heap = [category for category, block in _blocks(sizes).items() if block < LARGE_BLOCK_BYTES]
    on_heap = {phase: sum(peak[category] for category in in_heap) for phase, peak in ledger.peaks.items()}
    holes = round(_KEPT_HOLES * ledger.most["kept"])
    if "tiles" in in_heap:
        wide_in_heap = sizes.product_bytes * sizes.tile_tokens * sizes.d_ff < LARGE_BLOCK_BYTES
        holes += max(stage.graph + stage.backward - (0 if wide_in_heap else stage.wide) for stage in stages(sizes))
    if "loss" in in_heap:
        holes += ledger.most["loss"]
    for phase, peak in ledger.peaks.items():
        peak["allocator"] = max(on_heap.values()) - on_heap[phase] + holes


def _blocks(sizes: Sizes) -> dict[str, int]:
    """The bytes of the usual tensor of each category whose tensors come and go."""
    tile_width = max(sizes.d_ff, 3 * sizes.d_model)
    return {
        "streams": sizes.hidden_bytes,
        "stream_gradients": sizes.hidden_bytes,
        "attention": sizes.product_hidden_bytes,
        "attention_workspace": FULL_BYTES * sizes.tokens * sizes.head_dim,
        "tiles": sizes.product_bytes * sizes.tile_tokens * sizes.d_model,
        "loss": FULL_BYTES * sizes.loss_tile * sizes.vocab_size,
        "kept": sizes.product_bytes * sizes.tile_tokens * tile_width,
    }
