"""Scales of axes: powers of two, and limits with a little room."""

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from revlm.report.history import FloatArray
from revlm.report.units import binary_count


def power_axis(axes: Axes, low: int, high: int, *, factor: int, label: Callable[[int], str] = binary_count) -> None:
    """Makes the x axis one of powers, from `low` to `high` with a little room, with a tick every `factor`."""
    axes.set_xscale("log", base=2)
    room = 1.25 if high > 64 * low else 1.12
    axes.set_xlim(low / room, max(high, 2 * low) * room)
    ticks = [low * factor**power for power in range(1 + int(math.log(high / low, factor) + 1e-9))]
    axes.set_xticks(ticks, [label(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def room_around(values: FloatArray) -> tuple[float, float]:
    """Limits around the values that are finite, with a little room; 0 and 1 where none is."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room
