"""The memory picture: the peak of each phase over the steps, and the largest step beside its plan."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm.records import PHASES, MemoryPlan, peak_key
from revlm.report.history import History
from revlm.report.pictures.canvas import Canvas, limit_from_zero, line_style
from revlm.report.pictures.plan import draw_planned, planned_height
from revlm.text import byte_unit, human_bytes

_COLORS = dict(zip(PHASES, ("blue", "orange", "green"), strict=True))


def draw_memory(history: History, canvas: Canvas) -> Figure:
    """Memory in absolute bytes: resident memory of the process, or on CUDA what the allocator allocated."""
    plan, step = history.plan, history.journal.largest
    height = 2.3 if canvas.narrow else 2.9
    rows = [["steps"], ["bars"]] if canvas.narrow else [["steps", "bars"]]
    heights = [height, 1.5] if canvas.narrow else [height]
    if plan:
        rows.append(["plan"] * len(rows[0]))
        heights.append(planned_height(plan, canvas))
    figure, panels = canvas.panels(rows, heights, widths=None if canvas.narrow else [1.35, 1])
    peaks = [history.peaks(key) for key in (*map(peak_key, PHASES), "memory_reserved_bytes")]
    largest = max((float(np.nanmax(each)) for each in peaks if np.isfinite(each).any()), default=1.0)
    divisor, unit = byte_unit(largest)
    canvas.caption(panels["steps"], f"{'allocated' if history.on_gpu else 'resident'} memory, {unit}")
    limit_from_zero(panels["steps"], largest / divisor)
    _draw_over_steps(panels["steps"], history, canvas, divisor, height)
    canvas.caption(panels["bars"], f"peaks within step {step['step']:,}")
    _draw_bars(panels["bars"], step, canvas, 1.08 * max(largest, 1.0))
    if plan:
        _draw_plan(panels["plan"], plan, step, canvas)
    return figure


def _draw_plan(axes: Axes, plan: MemoryPlan, step: Mapping[str, Any], canvas: Canvas) -> None:
    canvas.caption(axes, f"beyond the baseline in step {step['step']:,}")
    draw_planned(axes, canvas, plan, step)


def _draw_over_steps(axes: Axes, history: History, canvas: Canvas, divisor: int, height: float) -> None:
    theme = canvas.theme
    labels = []
    for phase in PHASES:
        color = getattr(theme, _COLORS[phase])
        series = history.peaks(peak_key(phase)) / divisor
        axes.plot(history.step_numbers, series, color=color, **line_style(len(series), noisy=True))
        if np.isfinite(series).any():
            labels.append((phase, float(series[np.isfinite(series)][-1]), color))
    for name, style in (("baseline", "--"), ("reserved", ":")):
        series = history.peaks(f"memory_{name}_bytes") / divisor
        if np.isfinite(series).any():
            last = float(series[np.isfinite(series)][-1])
            if name == "baseline" or len(series) == 1:
                axes.axhline(last, color=theme.muted, linewidth=1.2, linestyle=style)
            else:
                axes.plot(history.step_numbers, series, color=theme.muted, linewidth=1.2, linestyle=style)
            labels.append((name, last, theme.muted))
    canvas.step_axis(axes, history, share=1.0 if canvas.narrow else 0.6)
    canvas.end_labels(axes, labels, height)


def _draw_bars(axes: Axes, step: Mapping[str, Any], canvas: Canvas, width: float) -> None:
    """Draws a bar for each phase; its grey part is the memory before the model."""
    theme = canvas.theme
    baseline = step["memory_baseline_bytes"] or 0
    canvas.bars(axes, PHASES)
    axes.set_xlim(0, width)
    for place, phase in enumerate(PHASES):
        peak = step[peak_key(phase)]
        if peak is not None:
            before = min(baseline, peak)
            axes.barh(place, before, 0.55, color=theme.muted, alpha=0.45, linewidth=0)
            axes.barh(place, peak - before, 0.55, left=before, color=getattr(theme, _COLORS[phase]), linewidth=0)
        canvas.mark(axes, human_bytes(peak), peak or 0, place)
    for label, phase in zip(axes.get_yticklabels(), PHASES, strict=True):
        label.set_color(getattr(theme, _COLORS[phase]))
    if baseline:
        canvas.under(axes, f"baseline {human_bytes(baseline)}, before the model")
