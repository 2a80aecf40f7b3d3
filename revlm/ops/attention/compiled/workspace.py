"""The memory of the compiled passes, counted from their C++."""

import torch

from revlm.ops.compiled.structures import CONSTANTS

_REAL = 4  # sums of float32 and bfloat16 inputs


def workspace_bytes(
    *,
    rows: int,
    tokens: int,
    head_dim: int,
    rounds: int,
    window: int,
    block: int,
    element_bytes: int,
    backward: bool,
    queries_are_keys: bool,
) -> int:
    """Returns the most bytes that one call holds beside its inputs, its results and its gradients.

    The rows count as far as they are worked off together, which the number of threads decides. `element_bytes` is the
    size of an element of q, k and v.
    """
    threads = torch.get_num_threads()
    real = max(element_bytes, _REAL)
    segments = -(-tokens // max(CONSTANTS["segment"], window, block))
    group = min(max(4 * threads // segments, 1), rows)
    orders = group * rounds * tokens * (4 + CONSTANTS["place_bytes"])
    # A sort's numbers, sorted numbers and sorted tokens, of each thread.
    sorting = min(threads, group * rounds) * 3 * 4 * tokens
    in_records = rounds > 1
    inputs = ((4 if backward else 3) - queries_are_keys) * in_records
    sums = (3 - queries_are_keys) * (in_records or element_bytes < real) if backward else 1 * in_records
    records = group * tokens * (inputs * _vectors(head_dim * element_bytes) + sums * _vectors(head_dim * real))
    # Of each query: maximum and sum of its weights; or its log-sum-exp and its delta.
    of_queries = 2 * group * tokens * real
    boundaries = group * segments * window * 2 * head_dim * real if backward and segments > 1 else 0
    # Of each thread: packed keys and values, pairs, and the block's queries in a few forms; backwards also gradients.
    of_thread = real * ((window + block) * (2 * head_dim + block) * (2 if backward else 1) + 4 * block * head_dim)
    return orders + sorting + records + of_queries + boundaries + threads * of_thread


def _vectors(size_bytes: int) -> int:
    """The bytes of a field of a record: whole vectors."""
    whole = CONSTANTS["field_bytes"]
    return -(-size_bytes // whole) * whole
