"""The memory plan: planned against measured for one step, and swept over the values of a key.

All of it is beyond what the process held before there was a model.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm.records import PHASES, MemoryPlan, peak_key
from revlm.report.pictures.canvas import Canvas, KeyEntry, legend_below, limit_from_zero, line_style, place_ticks
from revlm.report.pictures.theme import Theme
from revlm.text import byte_unit, human_bytes, human_count

_COLORED = 6  # the categories that hold the most; what is left is one part
_OTHER = "other"
_BAR = 0.34  # of bars that lie a unit apart
_PHASE_HEIGHT, _KEY_ROW = 0.62, 0.24  # inches


class _Part(NamedTuple):
    """A category of the plan, or all small ones together: its bytes at the peak of each phase."""

    name: str
    color: str
    sizes: dict[str, int]


def planned_height(plan: MemoryPlan, canvas: Canvas) -> float:
    """The height in inches of a plan's bars with their legend."""
    parts = len(_parts(plan, canvas.theme))
    return len(_phases(plan)) * _PHASE_HEIGHT + -(-parts // _key_columns(canvas)) * _KEY_ROW


def draw_planned(axes: Axes, canvas: Canvas, plan: MemoryPlan, step: Mapping[str, Any]) -> None:
    """Draws two bars for each phase: the measured peak of a step, and the planned one by category."""
    parts, phases, theme = _parts(plan, canvas.theme), _phases(plan), canvas.theme
    measured = {phase: _measured(step, phase) for phase in phases}
    planned = {phase: sum(part.sizes[phase] for part in parts) for phase in phases}
    canvas.bars(axes, phases)
    axes.set_xlim(0, max(1, *planned.values(), *(size for size in measured.values() if size is not None)))
    for place, phase in enumerate(phases):
        size = measured[phase]
        if size is not None:
            axes.barh(place - 0.19, size, _BAR, color=theme.muted, alpha=0.45, linewidth=0)
        canvas.mark(axes, f"{human_bytes(size)} measured", size or 0, place - 0.19)
        left = 0
        for part in parts:
            axes.barh(place + 0.19, part.sizes[phase], _BAR, left=left, color=part.color, linewidth=0)
            left += part.sizes[phase]
        canvas.mark(axes, f"{human_bytes(left)} planned", left, place + 0.19)
    legend_below(axes, [KeyEntry(part.name, part.color, "s") for part in parts], _key_columns(canvas))


def _phases(plan: MemoryPlan) -> list[str]:
    return [phase for phase in PHASES if phase in plan.peaks]


def _parts(plan: MemoryPlan, theme: Theme) -> list[_Part]:
    phases = _phases(plan)
    largest = {name: max((plan.peaks[phase].get(name, 0) for phase in phases), default=0) for name in plan.categories}
    colored = sorted(largest, key=lambda name: -largest[name])[:_COLORED]
    kept = [name for name in plan.categories if name in colored and largest[name] > 0]
    parts = [
        _Part(plan.categories[name], theme.run_color(place), {p: plan.peaks[p].get(name, 0) for p in phases})
        for place, name in enumerate(kept)
    ]
    rest = {p: sum(size for name, size in plan.peaks[p].items() if name not in kept) for p in phases}
    return [*parts, _Part(_OTHER, theme.muted, rest)] if any(rest.values()) else parts


def _measured(step: Mapping[str, Any], phase: str) -> int | None:
    peak = step[peak_key(phase)]
    return None if peak is None else max(0, peak - (step["memory_baseline_bytes"] or 0))


def _key_columns(canvas: Canvas) -> int:
    return 1 if canvas.narrow else 4


class Curve(NamedTuple):
    """The peak memory in bytes of one mode at each value of the key; None where it was not measured."""

    name: str
    values: Sequence[int]
    planned_bytes: Sequence[int]
    measured_bytes: Sequence[int | None]


def draw_sweep(key: str, curves: Sequence[Curve], canvas: Canvas) -> Figure:
    """Memory excluding what the process holds before the model; lines are planned, diamonds measured."""
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
