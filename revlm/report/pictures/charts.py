"""Draws the charts of `revlm.evaluation.views`: of one run, or of several in one picture."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.evaluation.views import Bar, Bars, Chart, Line, Panel
from revlm.report.pictures.canvas import (
    Canvas,
    KeyEntry,
    limit_from_zero,
    line_style,
    power_axis,
    room_around,
)
from revlm.report.pictures.overlay import line_of, run_key
from revlm.text import binary_count

_BAR = 0.26
_GAP = 0.6  # in bars, between those that stand apart
# Lines stand side by side at a place, so that their intervals do not lie over each other.
_APART = 0.08


def draw_panels(panels: Sequence[Panel], canvas: Canvas) -> Figure:
    """The panels of a probe side by side; stacked on a phone."""
    names = [f"panel {place}" for place in range(len(panels))]
    heights = [_height(panel, canvas) for panel in panels]
    bars = [bar for panel in panels if isinstance(panel, Bars) for bar in (*panel.bars, *panel.below)]
    key = [KeyEntry(bar.group, _color(canvas, bar), "s") for bar in {bar.group: bar for bar in bars}.values()]
    rows = [[name] for name in names] if canvas.narrow else [names]
    figure, axes = canvas.panels(rows, heights if canvas.narrow else [max(heights)], key=key)
    for name, panel, height in zip(names, panels, heights, strict=True):
        canvas.caption(axes[name], panel.caption)
        if isinstance(panel, Bars):
            _draw_bars(axes[name], panel, canvas)
        else:
            colors = _colors(panel, canvas)
            _draw_chart(axes[name], panel, canvas, colors)
            labels = [(name_of, level, canvas.theme.muted) for name_of, level in panel.levels if name_of]
            if len(panel.lines) > 1 or labels:
                ends = zip(panel.lines, colors, strict=True)
                labels += [(line.name, line.points[-1].height, color) for line, color in ends]
                canvas.end_labels(axes[name], labels, height)
    return figure


def draw_compared(charts: Mapping[str, Chart | None], canvas: Canvas) -> Figure:
    """The charts of several runs in one picture; the colour of a run without a chart is not used."""
    shown = [(place, name, chart) for place, (name, chart) in enumerate(charts.items()) if chart is not None]
    first = shown[0][2]
    lines = [Line(name, chart.lines[0].points) for _, name, chart in shown]
    marks = sorted({mark for _, _, chart in shown for mark in chart.marks})
    key = [entry for entry, chart in zip(run_key(list(charts), canvas), charts.values(), strict=True) if chart]
    together = Chart(
        caption=first.caption,
        below=first.below,
        lines=lines,
        levels=first.levels,
        marks=marks,
        along=first.along,
        tick_every=first.tick_every,
        heights_from=first.heights_from,
        least=first.least,
        percent=first.percent,
    )
    figure, axes = canvas.panel(_height(first, canvas), first.caption, key=key)
    colors = [canvas.theme.run_color(place) for place, _, _ in shown]
    _draw_chart(axes, together, canvas, colors, [line_of(canvas, place) for place, _, _ in shown])
    return figure


def _draw_chart(
    axes: Axes, chart: Chart, canvas: Canvas, colors: Sequence[str], dashes: Sequence[str] | None = None
) -> None:
    theme = canvas.theme
    along = sorted({point.along for line in chart.lines for point in line.points if point.along is not None})
    places: dict[int | None, float] = {value: float(value) for value in along}
    if chart.along == "even":
        places = {value: float(place) for place, value in enumerate(along)}
    places[None] = float(len(along))
    for _, level in chart.levels:
        axes.axhline(level, color=theme.muted, linewidth=1.0, linestyle="--" if level else "-")
    for mark in chart.marks:
        axes.axvline(mark, color=theme.muted, linewidth=1.0, linestyle=":")
    for number, (line, color) in enumerate(zip(chart.lines, colors, strict=True)):
        shift = _APART * (number - (len(chart.lines) - 1) / 2) if chart.along == "even" else 0.0
        dash = dashes[number] if dashes else "-"
        _draw_line(axes, line, {value: place + shift for value, place in places.items()}, color, dash, canvas)
    _limit(axes, chart)
    if chart.percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    if chart.along == "even":
        names = [binary_count(value) for value in along]
        if any(point.along is None for line in chart.lines for point in line.points):
            names.append("all")
        axes.set_xlim(-0.35, len(names) - 0.65)
        axes.set_xticks(range(len(names)), names)
    elif along:
        power_axis(axes, along[0], along[-1], factor=chart.tick_every**2 if canvas.narrow else chart.tick_every)
    canvas.below(axes, chart.below)


def _draw_line(
    axes: Axes, line: Line, places: Mapping[int | None, float], color: str, dash: str, canvas: Canvas
) -> None:
    """Draws a line through the points on the axis; hollow points are joined by a thinner line."""
    on_axis = [point for point in line.points if point.along is not None]
    width = 1.2 if line.thin else 2.0
    x = np.array([places[point.along] for point in on_axis])
    y = np.array([point.height for point in on_axis])
    solid = np.array([not point.hollow for point in on_axis], dtype=bool)
    axes.plot(x, y, color=color, linewidth=0.8 if solid.any() and not solid.all() else width, linestyle=dash)
    if solid.sum() > 1 and not solid.all():
        axes.plot(x[solid], y[solid], color=color, linewidth=width, linestyle=dash)
    style = line_style(len(line.points)) | {"linewidth": 0, "markersize": 3 if line.thin else 5}
    for point in line.points:
        inside = canvas.theme.paper if point.hollow else color
        axes.plot(places[point.along], point.height, color=color, markerfacecolor=inside, clip_on=False, **style)
        if point.interval is not None:
            at = places[point.along]
            axes.plot([at, at], point.interval, color=color, linewidth=1.2, marker="_", markersize=7)


def _limit(axes: Axes, chart: Chart) -> None:
    """Limits the y axis; from zero if no value is far below it."""
    points = [point for line in chart.lines for point in line.points]
    heights = [bound for point in points for bound in (point.height, *(point.interval or ()))]
    heights += [level for _, level in chart.levels]
    if chart.heights_from == "zero":
        low, high = min(heights, default=0.0), max([chart.least, *heights])
        if low > -0.02 * high:
            limit_from_zero(axes, high)
            return
    axes.set_ylim(*room_around(np.array(heights)))


def _draw_bars(axes: Axes, panel: Bars, canvas: Canvas) -> None:
    bars = [*panel.bars, *panel.below]
    canvas.bars(axes, [bar.name for bar in bars])
    places = [place + _GAP * (place >= len(panel.bars)) for place in range(len(bars))]
    values = [bar.value for bar in bars]
    axes.barh(places, values, 0.66, color=[_color(canvas, bar) for bar in bars], linewidth=0)
    axes.set_yticks(places, [bar.name for bar in bars])
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.axvline(0, color=canvas.theme.muted, linewidth=1.0)
    axes.spines["left"].set_visible(False)
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.02 * (high - low)
    axes.set_xlim(low - room, high + room if high > low else 1.0)
    for place, value in zip(places, values, strict=True):
        canvas.mark(axes, f"{value:+.3f}" if abs(value) < 1000 else f"{value:+.3g}", max(value, 0.0), place)


def _height(panel: Panel, canvas: Canvas) -> float:
    if isinstance(panel, Bars):
        return max(1.8, _BAR * (len(panel.bars) + len(panel.below) + 1))
    return 2.3 if canvas.narrow else 2.9


def _colors(chart: Chart, canvas: Canvas) -> list[str]:
    if chart.ordered and len(chart.lines) > 1:
        return canvas.theme.depth_colors(len(chart.lines))
    return [canvas.theme.run_color(line.color) for line in chart.lines]


def _color(canvas: Canvas, bar: Bar) -> str:
    return canvas.theme.run_color(bar.color)
