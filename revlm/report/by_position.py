"""The picture of the loss by position in the document: what a model makes of the text before a token."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from revlm.report.canvas import ROW, Canvas, KeyEntry
from revlm.report.evaluated import Evaluated, Position
from revlm.report.scales import power_axis, room_around

# Losses of fewer tokens say little: they are drawn hollow.
FEW_TOKENS = 256


def draw_by_position(runs: Mapping[str, Evaluated | None], canvas: Canvas) -> Figure:
    """Losses in nats a token over positions in powers of two, one line a run by its name; None was not evaluated."""
    shown = [(name, run, canvas.theme.run_color(place)) for place, (name, run) in enumerate(runs.items()) if run]
    key = [KeyEntry(name, color) for name, _, color in shown] if len(runs) > 1 else []
    top = canvas.head_height(key) + ROW + 0.18
    height = 2.3 if canvas.narrow else 2.9
    figure = canvas.figure(top + height + 0.6)
    canvas.head(figure, key)
    axes = canvas.panel(figure, 0.6, top, canvas.width - 0.8, height, "nats a token")
    for _, run, color in shown:
        middles = np.array([_middle(position) for position in run.positions])
        losses = np.array([position.loss for position in run.positions])
        few = np.array([position.tokens < FEW_TOKENS for position in run.positions])
        axes.plot(middles, losses, color=color, linewidth=0.8)
        axes.plot(middles[~few], losses[~few], color=color, linewidth=1.8)
        for which, inside in ((~few, color), (few, canvas.theme.paper)):
            axes.plot(
                middles[which],
                losses[which],
                color=color,
                marker="o",
                markersize=4,
                linestyle="",
                markerfacecolor=inside,
            )
    positions = [position for _, run, _ in shown for position in run.positions]
    axes.set_ylim(*room_around(np.array([position.loss for position in positions])))
    last = max(position.last for position in positions)
    power_axis(axes, 1, last, factor=16 if canvas.narrow else 4)
    for place in {run.second_piece for _, run, _ in shown}:
        if place is not None:
            axes.axvline(place, color=canvas.theme.muted, linewidth=1.0, linestyle=":")
    canvas.write(figure, 0.6, top + height + 0.34, "position in the document, tokens", color=canvas.theme.muted)
    return figure


def _middle(position: Position) -> float:
    """The middle of a bin on a scale of powers; the last one is drawn as if it were full."""
    return float(np.sqrt(position.first * position.last))
