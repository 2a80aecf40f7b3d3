"""The throughput picture: tokens a second over the steps."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.report.history import History
from revlm.report.pictures.canvas import Canvas, limit_from_zero, line_style
from revlm.text import human_count

_HEIGHT = 1.6


def draw_throughput(history: History, canvas: Canvas) -> Figure:
    """Tokens a second over the steps, from zero, and their median."""
    theme = canvas.theme
    rates = history.series("tokens_per_second")
    figure, axes = canvas.panel(_HEIGHT, "tokens a second")
    axes.plot(history.step_numbers, rates, color=theme.blue, **line_style(len(rates), noisy=True))
    known = rates[np.isfinite(rates)]
    limit_from_zero(axes, float(known.max()) if len(known) else 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: human_count(value)))
    canvas.step_axis(axes, history)
    if len(known):
        median = float(np.median(known))
        axes.axhline(median, color=theme.ink, linewidth=1.0, linestyle="--")
        canvas.end_labels(axes, [(f"median\n{human_count(median)}", median, theme.ink)], _HEIGHT)
    return figure
