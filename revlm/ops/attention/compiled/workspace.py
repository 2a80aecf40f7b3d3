"""The workspace of the compiled passes, as allocated in C++."""

import torch

from revlm.ops.attention.arguments import CallSizes
from revlm.ops.compiled.structures import CONSTANTS

_REAL = 4  # bytes of a sum, for float32 and bfloat16 inputs


def workspace_bytes(sizes: CallSizes) -> int:
    """Returns the peak of the bytes that one call holds besides its inputs, results and gradients.

    It grows with the rows that are processed together, which depend on the number of threads.
    """
    rows, tokens, head_dim, rounds, window, block, element_bytes, backward, queries_are_keys = sizes
    threads = torch.get_num_threads()
    real = max(element_bytes, _REAL)
    segments = -(-tokens // max(CONSTANTS["segment"], window, block))
    group = min(max(4 * threads // segments, 1), rows)
    orders = group * rounds * tokens * (4 + CONSTANTS["place_bytes"])
    # The keys, sorted keys and sorted tokens of each thread's sort.
    sorting = min(threads, group * rounds) * 3 * 4 * tokens
    in_records = rounds > 1
    inputs = ((4 if backward else 3) - queries_are_keys) * in_records
    sums = (3 - queries_are_keys) * (in_records or element_bytes < real) if backward else 1 * in_records
    records = group * tokens * (inputs * _vectors(head_dim * element_bytes) + sums * _vectors(head_dim * real))
    # Per query: the maximum and the sum of its weights, or its log-sum-exp and its delta.
    of_queries = 2 * group * tokens * real
    boundaries = group * segments * window * 2 * head_dim * real if backward and segments > 1 else 0
    # Per thread: packed keys and values, pairs, and the block's queries in several layouts; backwards also gradients.
    of_thread = real * ((window + block) * (2 * head_dim + block) * (2 if backward else 1) + 4 * block * head_dim)
    return orders + sorting + records + of_queries + boundaries + threads * of_thread


def _vectors(size_bytes: int) -> int:
    """Returns the bytes of a record's field, rounded up to whole vectors."""
    whole = CONSTANTS["field_bytes"]
    return -(-size_bytes // whole) * whole
