"""The picture of what a model finds again: needles by distance, copies by length, each with its line of chance."""

from collections.abc import Callable

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.report.canvas import ROW, Canvas, limit_from_zero
from revlm.report.evaluated import Copying, NeedleTest
from revlm.report.scales import power_axis
from revlm.report.units import plural


def draw_finding(needle: NeedleTest | None, copying: Copying | None, canvas: Canvas) -> Figure:
    """The loss of needles' ends by distance, and the share of copies that is predicted by length, from zero."""
    panels: list[tuple[str, str, Callable[[Axes], None]]] = []
    if needle is not None and needle.distances:
        panels.append(("needles: nats a token", "tokens away", lambda axes: _draw_needles(axes, needle, canvas)))
    if copying is not None:
        panels.append(("copies: tokens predicted", "tokens copied", lambda axes: _draw_copies(axes, copying, canvas)))
    columns = 1 if canvas.narrow else len(panels)
    height, below, top = 2.3, 3.5, canvas.head_height() + ROW + 0.18
    figure = canvas.figure(top + (-(-len(panels) // columns) - 1) * below + height + 0.6)
    canvas.head(figure)
    for number, (caption, label, draw) in enumerate(panels):
        left, panel_top = 0.6 + number % columns * canvas.width / columns, top + number // columns * below
        axes = canvas.panel(figure, left, panel_top, canvas.width / columns - 1.6, height, caption)
        draw(axes)
        canvas.write(figure, left, panel_top + height + 0.34, label, color=canvas.theme.muted)
    return figure


def _draw_needles(axes: Axes, needle: NeedleTest, canvas: Canvas) -> None:
    theme = canvas.theme
    distances = [each.distance for each in needle.distances]
    lines = (
        ("no needle", [each.without.loss for each in needle.distances], theme.orange),
        ("needle", [each.found.loss for each in needle.distances], theme.blue),
    )
    axes.axhline(needle.chance.loss, color=theme.muted, linewidth=1.0, linestyle="--")
    for _, losses, color in lines:
        axes.plot(distances, losses, color=color, linewidth=1.8, marker="o", markersize=4, clip_on=False)
    limit_from_zero(axes, max(needle.chance.loss, *(loss for _, losses, _ in lines for loss in losses)))
    power_axis(axes, distances[0], distances[-1], factor=4)
    labels = [(name, losses[-1], color) for name, losses, color in lines]
    canvas.end_labels(axes, [("chance", needle.chance.loss, theme.muted), *labels])


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
    limit_from_zero(axes, max(copying.chance, *(each.accuracy for each in copying.accuracies)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    lengths = sorted({each.length for each in copying.accuracies})
    power_axis(axes, lengths[0], lengths[-1], factor=4)
    canvas.end_labels(axes, labels)
