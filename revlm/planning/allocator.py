"""What a process holds beside its tensors: its libraries, and freed memory that no later tensor fits into.

The constants below were measured on Linux with PyTorch 2.13; `revlm plan --sweep ... --measure` shows plan and
measurement side by side.
"""

from revlm.ops.heap import LARGE_BLOCK_BYTES
from revlm.planning.ledger import Ledger
from revlm.planning.sizes import FULL_BYTES, Sizes
from revlm.planning.stages import Stage, stages

_MIB = 2**20

PROCESS_BYTES = {"cpu": 375 * _MIB, "cuda": 512 * _MIB}
"""What a process holds before there is a model: on the CPU Python and PyTorch (the `memory_baseline_bytes` of a run),
on CUDA the context, which is outside of what PyTorch's allocator counts."""

# Code pages and buffers of the math libraries, first touched in a step; on CUDA the work space of cuBLAS.
_LIBRARIES_BYTES = {"cpu": 36 * _MIB, "cuda": 32 * _MIB}

# Of the activations of the stored mode, the share by which small blocks between them keep holes from closing.
_KEPT_HOLES = 0.05


def tile_holes(sizes: Sizes, stage: Stage) -> int:
    """Returns the bytes of freed memory that lie in the heap while a tile of a stage is differentiated.

    On the CPU a hole does not take an aligned block of its own size again (glibc asks for a little more), so that the
    temporary tensors of tiles are there about twice.
    """
    if sizes.device_kind != "cpu" or _blocks(sizes)["tiles"] >= LARGE_BLOCK_BYTES:
        return 0
    wide_in_heap = sizes.product_bytes * sizes.tile_tokens * sizes.d_ff < LARGE_BLOCK_BYTES
    return stage.graph + stage.backward - (0 if wide_in_heap else stage.wide)


def add_allocator(ledger: Ledger, sizes: Sizes) -> None:
    """Adds to each phase's peak what the process holds beside its tensors and the holes that the replay has counted.

    On the CPU memory freed by blocks of the heap stays resident, with holes of the loss like those of tiles: the
    forward pass and the optimizer hold what the fullest phase left. The backward pass gives it back before attention.
    Larger blocks go back to the system. On CUDA the caching allocator's numbers are those of tensors.
    """
    for peak in ledger.peaks.values():
        peak["libraries"] = _LIBRARIES_BYTES[sizes.device_kind]
    if sizes.device_kind != "cpu":
        return
    in_heap = [category for category, block in _blocks(sizes).items() if block < LARGE_BLOCK_BYTES]
    on_heap = {phase: sum(peak[category] for category in in_heap) for phase, peak in ledger.peaks.items()}
    holes = max(tile_holes(sizes, stage) for stage in stages(sizes))
    if "loss" in in_heap:
        holes += ledger.most["loss"]
    for phase in ("forward", "optimizer"):
        ledger.peaks[phase]["allocator"] = max(on_heap.values()) - on_heap[phase] + holes
    for phase in ("forward", "backward"):
        ledger.peaks[phase]["allocator"] += round(_KEPT_HOLES * ledger.most["kept"])


def _blocks(sizes: Sizes) -> dict[str, int]:
    """The bytes of the usual tensor of each category whose tensors come and go."""
    return {
        "streams": sizes.hidden_bytes,
        "stream_gradients": sizes.hidden_bytes,
        "attention": sizes.product_hidden_bytes,
        "attention_workspace": FULL_BYTES * sizes.tokens * sizes.head_dim,
        "tiles": sizes.product_bytes * sizes.tile_tokens * sizes.d_model,
        "loss": FULL_BYTES * sizes.loss_tile * sizes.vocab_size,
    }
