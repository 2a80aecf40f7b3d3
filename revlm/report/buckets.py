"""The bucket picture: how each hash layer uses its buckets, so that a layer nobody uses is seen."""

from collections import defaultdict

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.report.canvas import ROW, Canvas, limit_from_zero, line_style
from revlm.report.history import FloatArray, History
from revlm.report.series import smoothed

MEASURES = (
    ("bucket_fill", "share of the window that is filled"),
    ("empty_query_share", "share of queries that find no key"),
    ("sink_share", "share of weight that goes to the sink"),
)
LABELS_AT_MOST = 6


def has_hash_layers(history: History) -> bool:
    """Whether any step recorded how a hash layer used its buckets."""
    return bool(_by_layer(history, "bucket_fill") or _by_layer(history, "empty_query_share"))


def draw_buckets(history: History, canvas: Canvas) -> Figure:
    """Three panels over steps, one line a hash layer, darker the nearer to the input."""
    height, gap = 1.25, 0.55
    top = canvas.head_height() + ROW + 0.18
    figure = canvas.figure(top + 3 * height + 2 * gap + 0.6)
    canvas.head(figure)
    for row, (key, caption) in enumerate(MEASURES):
        axes = canvas.panel(figure, 0.6, top + row * (height + gap), canvas.width - 1.4, height, caption)
        lines = _by_layer(history, key)
        _draw_lines(axes, history, canvas, lines)
        canvas.step_axis(axes, history, labelled=row == len(MEASURES) - 1)
    return figure


def _draw_lines(axes: Axes, history: History, canvas: Canvas, lines: dict[int, FloatArray]) -> None:
    largest = max((float(np.nanmax(line)) for line in lines.values()), default=1.0)
    limit_from_zero(axes, max(largest, 1e-3))
    if largest <= 1:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    labelled = set(lines)
    if len(lines) > LABELS_AT_MOST:
        layers = sorted(lines)
        labelled = {layers[0], layers[len(layers) // 2], layers[-1]}
    labels = []
    for (layer, line), color in zip(sorted(lines.items()), _depth_colors(canvas, len(lines)), strict=True):
        axes.plot(history.step_numbers, smoothed(line), color=color, **line_style(len(line)))
        if layer in labelled:
            labels.append((f"layer {layer}", float(line[np.isfinite(line)][-1]), color))
    if not lines:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, color=canvas.theme.muted, ha="center")
    canvas.end_labels(axes, labels)


def _by_layer(history: History, key: str) -> dict[int, FloatArray]:
    """For each hash layer the values of `key`, `[records]`; layers without any value are left out."""
    lines: dict[int, FloatArray] = defaultdict(lambda: np.full(len(history.steps), np.nan))
    for record, step in enumerate(history.steps):
        for place, use in enumerate(step.layers or ()):
            value = getattr(use, key)
            if value is not None:
                lines[place if use.layer is None else use.layer][record] = value
    return {layer: line for layer, line in lines.items() if np.isfinite(line).any()}


def _depth_colors(canvas: Canvas, count: int) -> list[str]:
    low, high = canvas.theme.depth_range
    return [to_hex(colormaps["viridis"](place)) for place in np.linspace(low, high, count)]
