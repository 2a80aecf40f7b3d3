"""The throughput picture: tokens a second over the steps."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.report.canvas import ROW, Canvas, limit_from_zero, line_style
from revlm.report.history import History
from revlm.report.units import human_count


def draw_throughput(history: History, canvas: Canvas) -> Figure:
    """Tokens a second of each step, from zero, and their median."""
    theme = canvas.theme
    rates = history.series("tokens_per_second")
    top = canvas.head_height() + ROW + 0.18
    height = 1.6
    figure = canvas.figure(top + height + 0.6)
    canvas.head(figure)
    axes = canvas.panel(figure, 0.6, top, canvas.width - 1.4, height, "tokens a second")
    axes.plot(history.step_numbers, rates, color=theme.blue, **line_style(len(rates), noisy=True))
    known = rates[np.isfinite(rates)]
    limit_from_zero(axes, float(known.max()) if len(known) else 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: human_count(value)))
    canvas.step_axis(axes, history)
    if len(known):
        median = float(np.median(known))
        axes.axhline(median, color=theme.ink, linewidth=1.0, linestyle="--")
        canvas.end_labels(axes, [(f"median\n{median:,.0f}", median, theme.ink)])
    return figure
