"""The picture of a swept memory plan: peak memory against one key, planned lines and measured points."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from revlm.report.pictures.canvas import Canvas, KeyEntry, limit_from_zero, line_style, place_ticks
from revlm.text import byte_unit, human_count


class Curve(NamedTuple):
    """One way to train: its peak memory in bytes at each value of the key; what was not measured is None."""

    name: str
    values: Sequence[int]
    planned_bytes: Sequence[int]
    measured_bytes: Sequence[int | None]


def draw_sweep(key: str, curves: Sequence[Curve], canvas: Canvas) -> Figure:
    """Memory beyond what the process holds before there is a model; lines are planned, diamonds measured."""
    colors = [canvas.theme.run_color(place) for place in range(len(curves))]
    entries = [KeyEntry(f"{curve.name}, planned", color) for curve, color in zip(curves, colors, strict=True)]
    entries += [
        KeyEntry(f"{curve.name}, measured", color, "D")
        for curve, color in zip(curves, colors, strict=True)
        if any(size is not None for size in curve.measured_bytes)
    ]
    sizes = [size for curve in curves for size in (*curve.planned_bytes, *curve.measured_bytes) if size is not None]
    divisor, unit = byte_unit(max(sizes))
    figure, axes = canvas.panel(2.3 if canvas.narrow else 2.9, f"peak memory of a step, {unit}", key=entries)
    limit_from_zero(axes, max(sizes) / divisor)
    for curve, color in zip(curves, colors, strict=True):
        axes.plot(curve.values, np.array(curve.planned_bytes) / divisor, color=color, **line_style(len(curve.values)))
        measured = [
            (value, size / divisor)
            for value, size in zip(curve.values, curve.measured_bytes, strict=True)
            if size is not None
        ]
        if measured:
            axes.plot(*zip(*measured, strict=True), color=color, marker="D", markersize=6, linestyle="")
    place_ticks(axes, np.array(curves[0].values, dtype=float), canvas.width, integer=True)
    axes.set_xticks(axes.get_xticks(), [human_count(tick) for tick in axes.get_xticks()])
    canvas.below(axes, key)
    return figure
