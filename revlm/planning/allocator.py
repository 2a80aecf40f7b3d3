"""The memory of a process besides its tensors: libraries, and heap fragmentation.

The constants below were measured on Linux with PyTorch 2.13; `scripts/check_plan.py` compares plans with measured
steps.
"""

from revlm.model.parts.memory import FULL_BYTES, StageMemory
from revlm.ops.heap import LARGE_BLOCK_BYTES
from revlm.planning.ledger import Ledger
from revlm.planning.sizes import Sizes

_MIB = 2**20

PROCESS_BYTES = {"cpu": 320 * _MIB, "cuda": 512 * _MIB}
"""Bytes that a process holds before there is a model: on the CPU, Python and PyTorch (the `memory_baseline_bytes` of a
run); on CUDA, the context, which PyTorch's allocator does not count."""

# Pages of the math libraries' code that a step touches first, and the libraries' buffers, larger in half precision
# (oneDNN); on CUDA the workspace of cuBLAS.
_LIBRARIES_BYTES = {("cpu", 4): 24 * _MIB, ("cpu", 2): 40 * _MIB, ("cuda", 4): 32 * _MIB, ("cuda", 2): 32 * _MIB}

# The share of the temporary tensors of a stage's tiles that remains as holes in the heap. glibc does not reuse a hole
# for an aligned allocation of the same size, since it searches for slightly more, unless the hole has merged with a
# neighbour. In half precision smaller casts in between fill some holes. Allocations that outlive a layer's tiles, such
# as gradients of small weights, keep holes from merging, so the share grows with the number of layers; at
# _HALF_OF_HOLES_LAYERS layers it is half of its limit.
_TILE_HOLES = {4: 1.1, 2: 0.75}
_HALF_OF_HOLES_LAYERS = 1.5

# In the stored mode, holes that small allocations keep open, as a share of the stored activations.
_KEPT_HOLES = 0.05


def categories_in_heap(sizes: Sizes) -> frozenset[str]:
    """Returns the categories whose tensors come from the C library's heap; larger allocations come from the system.

    CUDA's caching allocator is counted without its reserve, as if it had no heap.
    """
    if sizes.device_kind != "cpu":
        return frozenset()
    return frozenset(["allocator", *(name for name, size in _typical_bytes(sizes).items() if size < LARGE_BLOCK_BYTES)])


def tile_holes(sizes: Sizes, stage: StageMemory, backward: bool) -> int:
    """Returns the bytes of heap memory that are free but unusable while the tiles of a stage are computed.

    The first tile leaves them, and the second tile, which may be shorter, cannot reuse them.
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
    """Adds to each phase's peak the memory that the replay does not count: libraries, and holes among activations."""
    for peak in ledger.peaks.values():
        peak["libraries"] = _LIBRARIES_BYTES[sizes.device_kind, sizes.product_bytes]
        if sizes.device_kind == "cpu":
            peak["allocator"] += round(_KEPT_HOLES * peak["kept"])


def _typical_bytes(sizes: Sizes) -> dict[str, int]:
    """Returns the bytes of a typical tensor of each category of temporary tensors."""
    tile_width = max(sizes.d_ff, 3 * sizes.d_model)
    return {
        "streams": sizes.hidden_bytes,
        "stream_gradients": sizes.hidden_bytes,
        "attention": sizes.heads_bytes,
        "attention_workspace": FULL_BYTES * sizes.all_tokens * sizes.head_dim,
        "tiles": sizes.product_bytes * sizes.tile_tokens * sizes.d_model,
        "loss": FULL_BYTES * sizes.loss_tile * sizes.vocab_size,
        "kept": sizes.product_bytes * sizes.tile_tokens * tile_width,
    }
