"""The picture of what a model finds again: needles by distance, copies by length, each with its line of chance."""

from collections.abc import Callable

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.report.canvas import ROW, Canvas
from revlm.report.evaluated import Copying, NeedleTest
from revlm.report.scales import power_axis
from revlm.report.units import plural


def draw_finding(needle: NeedleTest | None, copying: Copying | None, canvas: Canvas) -> Figure:
    """Shares of tokens that are predicted, from 0 to 1, of the tests that were made."""
    panels: list[tuple[str, str, Callable[[Axes], None]]] = []
    if needle is not None and needle.distances:
        panels.append(("needles: tokens predicted", "tokens away", lambda axes: _draw_needles(axes, needle, canvas)))
    if copying is not None:
        panels.append(("copies: tokens predicted", "tokens copied", lambda axes: _draw_copies(axes, copying, canvas)))
    columns = 1 if canvas.narrow else 2
    height, below, top = 2.3, 3.5, canvas.head_height() + ROW + 0.18
    figure = canvas.figure(top + (-(-len(panels) // columns) - 1) * below + height + 0.6)
    canvas.head(figure)
    for number, (caption, label, draw) in enumerate(panels):
        left, panel_top = 0.6 + number % columns * canvas.width / columns, top + number // columns * below
        axes = canvas.panel(figure, left, panel_top, canvas.width / columns - 1.6, height, caption)
        axes.set_ylim(0, 1.04)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
        draw(axes)
        canvas.write(figure, left, panel_top + height + 0.34, label, color=canvas.theme.muted)
    return figure


def _draw_needles(axes: Axes, needle: NeedleTest, canvas: Canvas) -> None:
    theme = canvas.theme
    distances = [each.distance for each in needle.distances]
    labels = [("chance", needle.chance.accuracy, theme.muted)]
    axes.axhline(needle.chance.accuracy, color=theme.muted, linewidth=1.0, linestyle="--")
    for name, shares, color in (
        ("no needle", [each.without.accuracy for each in needle.distances], theme.orange),
        ("needle", [each.found.accuracy for each in needle.distances], theme.blue),
    ):
        axes.plot(distances, shares, color=color, linewidth=1.8, marker="o", markersize=4, clip_on=False)
        labels.append((name, shares[-1], color))
    power_axis(axes, distances[0], distances[-1], factor=4)
    canvas.end_labels(axes, labels)


def _draw_copies(axes: Axes, copying: Copying, canvas: Canvas) -> None:
    theme = canvas.theme
    by_rounds: dict[int | None, list[tuple[int, float]]] = {}
    for each in copying.accuracies:
        by_rounds.setdefault(each.rounds, []).append((each.length, each.accuracy))
    axes.axhline(copying.chance, color=theme.muted, linewidth=1.0, linestyle="--")
    labels = [("chance", copying.chance, theme.muted)]
    low, high = theme.depth_range
    for (rounds, points), shade in zip(by_rounds.items(), np.linspace(low, high, len(by_rounds)), strict=True):
        color = theme.blue if rounds is None else to_hex(colormaps["viridis"](shade))
        is_own = rounds in (None, copying.own_rounds)
        axes.plot(
            *zip(*points, strict=True),
            color=color,
            linewidth=2.4 if is_own else 1.2,
            marker="o",
            markersize=5 if is_own else 3,
            clip_on=False,
        )
        labels.append(("copied" if rounds is None else plural(rounds, "round"), points[-1][1], color))
    lengths = sorted({each.length for each in copying.accuracies})
    power_axis(axes, lengths[0], lengths[-1], factor=4)
    canvas.end_labels(axes, labels)
