"""What a process holds beside its tensors: its libraries, and freed memory that no later tensor fits into.

The constants below were measured on Linux with PyTorch 2.13; `scripts/check_plan.py` holds plans against measured
steps.
"""

from revlm.model.parts.memory import FULL_BYTES, StageMemory
from revlm.ops.heap import LARGE_BLOCK_BYTES
from revlm.planning.ledger import Ledger
from revlm.planning.sizes import Sizes

_MIB = 2**20

PROCESS_BYTES = {"cpu": 375 * _MIB, "cuda": 512 * _MIB}
"""What a process holds before there is a model: on the CPU Python and PyTorch (the `memory_baseline_bytes` of a run),
on CUDA the context, which is outside of what PyTorch's allocator counts."""

# Code pages of the math libraries, first touched in a step, and what they keep for themselves, which is more in half
# precision (oneDNN); on CUDA the work space of cuBLAS.
_LIBRARIES_BYTES = {("cpu", 4): 24 * _MIB, ("cpu", 2): 40 * _MIB, ("cuda", 4): 32 * _MIB, ("cuda", 2): 32 * _MIB}

# A hole in the heap does not take an aligned block of its own size again, since glibc looks for a little more, unless
# it has merged with a neighbour: of the temporary tensors of a stage's tiles, the share that is there once more. In
# half precision casts come in between, which are smaller and fill some holes. What each layer leaves among the tiles,
# such as gradients of small weights, keeps holes from merging: the share is half of the most at this many layers.
_TILE_HOLES = {4: 1.1, 2: 0.75}
_HALF_OF_HOLES_LAYERS = 1.5

# Of the activations of the stored mode, the share by which small blocks between them keep holes from closing.
_KEPT_HOLES = 0.05


def categories_in_heap(sizes: Sizes) -> frozenset[str]:
    """Returns the categories whose tensors come from the heap of the C library; larger blocks come from the system.

    The caching allocator of CUDA is counted without its reserve: it has no heap here.
    """
    if sizes.device_kind != "cpu":
        return frozenset()
    return frozenset(
        ["allocator", *(category for category, block in _blocks(sizes).items() if block < LARGE_BLOCK_BYTES)]
    )


def tile_holes(sizes: Sizes, stage: StageMemory, backward: bool) -> int:
    """Returns the bytes of freed memory that lie in the heap while the tiles of a stage are worked on.

    They are what a second tile, which may be shorter, could not find in the place of the first.
    """
    if "tiles" not in categories_in_heap(sizes):
        return 0
    temporary = stage.graph + stage.backward - stage.of_weights if backward else stage.forward
    if sizes.product_bytes * sizes.tile_tokens * sizes.d_ff >= LARGE_BLOCK_BYTES:
        temporary = max(0, temporary - stage.wide)
    second = min(sizes.tokens - sizes.tile_tokens, sizes.tile_tokens) / sizes.tile_tokens
    layers = len(sizes.kinds)
    share = _TILE_HOLES[sizes.product_bytes] * layers / (layers + _HALF_OF_HOLES_LAYERS)
    return round(share * second * temporary)


def add_beside_tensors(ledger: Ledger, sizes: Sizes) -> None:
    """Adds to each phase's peak what the replay does not count: libraries, and holes between kept activations."""
    for peak in ledger.peaks.values():
        peak["libraries"] = _LIBRARIES_BYTES[sizes.device_kind, sizes.product_bytes]
        if sizes.device_kind == "cpu":
            peak["allocator"] += round(_KEPT_HOLES * peak["kept"])


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
