"""The bucket picture: how each hash layer uses its buckets, so that a layer nobody uses is seen."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.records import LayerUse
from revlm.report.bins import FloatArray
from revlm.report.history import USES, History
from revlm.report.pictures.canvas import Canvas, limit_from_zero, line_style
from revlm.report.pictures.series import smoothed

_HEIGHT = 1.25
_LABELS_AT_MOST = 6


def has_hash_layers(history: History) -> bool:
    """Whether any step recorded how a hash layer used its buckets."""
    return any(_by_layer(history, key) for key in USES)


def draw_buckets(history: History, canvas: Canvas) -> Figure:
    """A panel for each measure over the steps, one line a hash layer, darker the nearer to the input."""
    figure, panels = canvas.panels([[key] for key in USES], [_HEIGHT] * len(USES))
    for key in USES:
        axes = panels[key]
        canvas.caption(axes, LayerUse.model_fields[key].description or key)
        _draw_lines(axes, history, canvas, _by_layer(history, key))
        canvas.step_axis(axes, history, labelled=key == USES[-1])
    return figure


def _draw_lines(axes: Axes, history: History, canvas: Canvas, lines: dict[int, FloatArray]) -> None:
    largest = max((float(np.nanmax(line)) for line in lines.values()), default=1.0)
    limit_from_zero(axes, max(largest, 1e-3))
    if largest <= 1:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    labelled = set(lines)
    if len(lines) > _LABELS_AT_MOST:
        layers = sorted(lines)
        labelled = {layers[0], layers[len(layers) // 2], layers[-1]}
    labels = []
    steps = history.journal.uses.highs("step")
    for (layer, line), color in zip(sorted(lines.items()), depth_colors(canvas, len(lines)), strict=True):
        axes.plot(steps, smoothed(line), color=color, **line_style(len(line)))
        if layer in labelled:
            labels.append((f"layer {layer}", float(line[np.isfinite(line)][-1]), color))
    if not lines:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, color=canvas.theme.muted, ha="center")
    canvas.end_labels(axes, labels, _HEIGHT)


def _by_layer(history: History, key: str) -> dict[int, FloatArray]:
    """For each hash layer the values of `key`, `[bins]`; layers without any value are left out."""
    uses = history.journal.uses
    lines = {column[0]: uses.means(column) for column in uses.columns if isinstance(column, tuple) and column[1] == key}
    return {layer: line for layer, line in lines.items() if np.isfinite(line).any()}


def depth_colors(canvas: Canvas, count: int) -> list[str]:
    """Colours from dark to light for so many lines that have an order."""
    low, high = canvas.theme.depth_range
    return [to_hex(colormaps["viridis"](place)) for place in np.linspace(low, high, count)]
