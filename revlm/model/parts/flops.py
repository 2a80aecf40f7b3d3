"""The floating-point operations of attention in a training step."""


def flops_of_pairs(d_model: int, pairs: int) -> int:
    """Returns the FLOPs of the heads' attention, forward and backward, for so many pairs of a query and a key.

    The forward pass has two products of a head's width for each pair and head, the backward pass four.
    """
    return 12 * d_model * pairs


def pairs_in_window(queries: int, window: int) -> int:
    """Returns the pairs where the first query has one key, each further one more, up to a window of keys."""
    rising = min(queries, window)
    return rising * (rising + 1) // 2 + (queries - rising) * window
