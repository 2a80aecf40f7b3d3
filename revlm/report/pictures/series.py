"""Prepares numbers for drawing: running means, and labels that do not overlap."""

from collections.abc import Sequence

import numpy as np

from revlm.report.bins import FloatArray


def smoothed(values: FloatArray) -> FloatArray:
    """The running mean over a fortieth of the run; unchanged if the run has fewer than 80 bins."""
    half_width = len(values) // 80
    return running_mean(values, half_width) if half_width else values


def running_mean(values: FloatArray, half_width: int) -> FloatArray:
    """Centred means over up to `2 * half_width + 1` values, `[records]`; NaN values are left out.

    At the start, where a loss falls steeply, the window shrinks on both sides, so that the mean is not drawn
    below the values; at the end, where it is nearly level, only the side that is missing falls away.
    """
    index = np.arange(len(values))
    half = np.minimum(half_width, index)
    after = np.minimum(index + half + 1, len(values))
    known = np.isfinite(values)
    sums = np.append(0.0, np.cumsum(np.where(known, values, 0.0)))
    counts = np.append(0, np.cumsum(known))
    total, count = sums[after] - sums[index - half], counts[after] - counts[index - half]
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places moved apart to at least `gap` in the same order, with the least sum of squared moves.

    They stay between `low` and `high`; where there is no room for all of them, some lie above `high`.
    It is isotonic regression of `place[i] - i * gap`, by pooling adjacent violators (Ayer et al., 1955).
    """
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(order))
    pools: list[tuple[float, int]] = []
    for place in np.array(places, dtype=np.float64)[order] - steps:
        mean, count = float(place), 1
        while pools and pools[-1][0] >= mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    level = np.concatenate([np.full(count, mean) for mean, count in pools] or [np.zeros(0)])
    moved = np.maximum(np.minimum(level, high - steps[-1:]), low) + steps
    result = np.empty_like(moved)
    result[order] = moved
    return [float(place) for place in result]
