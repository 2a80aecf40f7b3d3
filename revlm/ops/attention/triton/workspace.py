"""The number of rows processed together, and their workspace."""

from revlm.ops.attention.arguments import CallSizes

_GROUP_TOKENS = 2**17  # queries of a group: at least 2,048 programs, several per multiprocessor of a GPU
_MOST_ROWS = 2**15  # a launch has fewer than 2^16 programs along its second axis
ORDER_BYTES = 16
"""Bytes per token and round in `SortedOrder`."""
_SORT_BYTES = 24  # additional bytes during the sort: buckets and indices, and the sort's copies of them


def rows_together(rows: int, tokens: int) -> int:
    """Returns how many rows are processed at a time: one if it alone fills a GPU."""
    return max(1, min(rows, _MOST_ROWS, -(-_GROUP_TOKENS // max(tokens, 1))))


def workspace_bytes(sizes: CallSizes) -> int:
    """Returns the peak of the bytes that one call holds besides its inputs, results and gradients.

    It assumes that gradients overwrite the inputs (`may_overwrite`), that `delta` is given, and that each row has its
    own buckets; shared buckets take less.
    """
    rows, tokens, head_dim, rounds, _, _, element_bytes, backward, queries_are_keys = sizes
    size = max(element_bytes, 4)
    group_tokens = rows_together(rows, tokens) * tokens
    order, sorting = ORDER_BYTES * rounds * group_tokens, _SORT_BYTES * rounds * group_tokens
    if not backward:
        means = group_tokens * head_dim * size if rounds > 1 and element_bytes < size else 0
        return order + means + sorting
    sum_size = element_bytes if rounds == 1 and not queries_are_keys else size
    summed = 2 if queries_are_keys else 1 if rounds == 1 else 3
    return order + summed * group_tokens * head_dim * sum_size + group_tokens * size + sorting
