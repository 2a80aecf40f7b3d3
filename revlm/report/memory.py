"""The memory picture: the peak of each phase over the steps, and within the largest step, beside its plan."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm.report.canvas import FONT_SIZE, ROW, Canvas, limit_from_zero, line_style
from revlm.report.history import History
from revlm.report.planned import draw_planned, planned_height
from revlm.report.records import Step
from revlm.report.units import byte_unit, human_bytes


class Phase(NamedTuple):
    """A part of a step, the record's key for its peak, and its colour in a theme."""

    name: str
    key: str
    color: str


PHASES = (
    Phase("forward", "memory_forward_peak_bytes", "blue"),
    Phase("backward", "memory_backward_peak_bytes", "orange"),
    Phase("optimizer", "memory_optimizer_peak_bytes", "green"),
)


def draw_memory(history: History, canvas: Canvas) -> Figure:
    """Memory in absolute bytes: resident memory of the process, on CUDA what the allocator gave out."""
    top = canvas.head_height() + ROW + 0.18
    height = 2.3 if canvas.narrow else 2.9
    bars_width = canvas.width - 1.1 if canvas.narrow else 2.3
    lines_width = canvas.width - 1.4 if canvas.narrow else canvas.width - bars_width - 3.0
    bars_top = top + height + 1.1 if canvas.narrow else top
    bars_height = 1.5 if canvas.narrow else height
    plan_top = bars_top + bars_height + (0.45 if canvas.narrow else 0.6)
    plan = history.plan
    figure = canvas.figure(plan_top + (planned_height(plan, canvas) if plan else 0))
    canvas.head(figure)

    peaks = np.concatenate([history.series(phase.key) for phase in PHASES] + [history.series("memory_reserved_bytes")])
    largest = float(np.nanmax(peaks)) if np.isfinite(peaks).any() else 1.0
    divisor, unit = byte_unit(largest)
    kind = "allocated" if history.on_gpu else "resident"
    over_steps = canvas.panel(figure, 0.6, top, lines_width, height, f"{kind} memory, {unit}")
    limit_from_zero(over_steps, largest / divisor)
    _draw_over_steps(over_steps, history, canvas, divisor)

    step = _largest_step(history)
    left = 0.95 if canvas.narrow else canvas.width - bars_width - 0.6
    caption_left = 0.1 if canvas.narrow else left - 0.8
    bars = canvas.panel(figure, left, bars_top, bars_width - 0.35, bars_height, "")
    canvas.write(
        figure,
        caption_left,
        bars_top - ROW - 0.08,
        f"peaks within step {step.step:,}",
        color=canvas.theme.muted,
    )
    bars.set_xlim(0, 1.08 * largest / divisor)
    _draw_bars(bars, step, canvas, divisor)
    if plan:
        draw_planned(figure, canvas, plan, step, plan_top)
    return figure


def _draw_over_steps(axes: Axes, history: History, canvas: Canvas, divisor: int) -> None:
    theme = canvas.theme
    labels = []
    for phase in PHASES:
        color = getattr(theme, phase.color)
        series = history.series(phase.key) / divisor
        axes.plot(history.step_numbers, series, color=color, **line_style(len(series), noisy=True))
        if np.isfinite(series).any():
            labels.append((phase.name, float(series[np.isfinite(series)][-1]), color))
    for name, key, style in (
        ("baseline", "memory_baseline_bytes", "--"),
        ("reserved", "memory_reserved_bytes", ":"),
    ):
        series = history.series(key) / divisor
        if np.isfinite(series).any():
            height = float(series[np.isfinite(series)][-1])
            if name == "baseline" or len(series) == 1:
                axes.axhline(height, color=theme.muted, linewidth=1.2, linestyle=style)
            else:
                axes.plot(history.step_numbers, series, color=theme.muted, linewidth=1.2, linestyle=style)
            labels.append((name, height, theme.muted))
    canvas.step_axis(axes, history)
    canvas.end_labels(axes, labels)


def _draw_bars(axes: Axes, step: Step, canvas: Canvas, divisor: int) -> None:
    """One bar a phase; its lower, grey part was there before the model."""
    theme = canvas.theme
    baseline = step.memory_baseline_bytes or 0
    for place, phase in enumerate(PHASES):
        peak = getattr(step, phase.key)
        if peak is not None:
            color = getattr(theme, phase.color)
            axes.barh(place, min(baseline, peak) / divisor, 0.55, color=theme.muted, alpha=0.45, linewidth=0)
            axes.barh(
                place,
                max(0, peak - baseline) / divisor,
                0.55,
                left=baseline / divisor,
                color=color,
                linewidth=0,
            )
        axes.annotate(
            human_bytes(peak),
            ((peak or 0) / divisor, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            size=FONT_SIZE,
            color=theme.ink,
            annotation_clip=False,
        )
    axes.set_ylim(len(PHASES) - 0.4, -0.6)
    axes.set_yticks(range(len(PHASES)), [phase.name for phase in PHASES])
    for label, phase in zip(axes.get_yticklabels(), PHASES, strict=True):
        label.set_color(getattr(theme, phase.color))
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(theme.muted)
    axes.set_xticks([])
    if baseline:
        axes.annotate(
            f"baseline {human_bytes(baseline)}, before the model",
            (0, len(PHASES) - 0.45),
            xytext=(0, -4),
            textcoords="offset points",
            va="top",
            size=FONT_SIZE,
            color=theme.muted,
            annotation_clip=False,
        )


def _largest_step(history: History) -> Step:
    return max(history.steps, key=lambda step: max(getattr(step, phase.key) or 0 for phase in PHASES))
