"""The picture of what long context gives: the gain over the smallest context on the same targets."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm.report.canvas import ROW, Canvas, KeyEntry, limit_from_zero
from revlm.report.evaluated import Context, ContextLength
from revlm.report.scales import room_around
from revlm.report.units import binary_count

# Runs stand side by side at a context, so that their intervals do not lie over each other.
_APART = 0.08
# The least end of the axis, in nats a token: rounding of a model that gains nothing is not blown up to a curve.
_LEAST = 0.01


def draw_by_context(runs: Mapping[str, Context | None], canvas: Canvas) -> Figure:
    """Gains in nats a token with their intervals over documents, by the names of runs; None was not asked.

    The context `all` stands apart at the right.
    """
    theme = canvas.theme
    shown = [(name, run.lengths, theme.run_color(place)) for place, (name, run) in enumerate(runs.items()) if run]
    key = [KeyEntry(name, color) for name, _, color in shown] if len(runs) > 1 else []
    contexts = sorted({each.context for _, lengths, _ in shown for each in lengths if each.context is not None})
    places: dict[int | None, float] = {context: place for place, context in enumerate(contexts)} | {None: len(contexts)}
    labels = {context: binary_count(context) for context in contexts} | {None: "all"}
    words, below = "tokens of context", 0.34
    if len(shown) == 1 and not canvas.narrow:
        words, below = "tokens of context, and the gain", below + ROW
        labels |= {each.context: f"{labels[each.context]}\n{each.gain:+.3f}" for each in shown[0][1][1:]}
    top = canvas.head_height(key) + ROW + 0.18
    height = 2.3 if canvas.narrow else 2.9
    figure = canvas.figure(top + height + below + 0.26)
    canvas.head(figure, key)
    axes = canvas.panel(figure, 0.6, top, canvas.width - 0.8, height, "gain over the smallest context, nats a token")
    axes.axhline(0, color=theme.muted, linewidth=1.0, zorder=1)
    for number, (_, lengths, color) in enumerate(shown):
        shift = _APART * (number - (len(shown) - 1) / 2)
        _draw_run(axes, [(places[each.context] + shift, each) for each in lengths], color)
    _limit(
        axes, [bound for _, lengths, _ in shown for each in lengths for bound in (each.gain, *(each.interval or ()))]
    )
    axes.set_xlim(-0.35, len(contexts) + 0.35)
    axes.set_xticks(list(places.values()), [labels[context] for context in places], linespacing=1.4)
    canvas.write(figure, 0.6, top + height + below, words, color=theme.muted)
    return figure


def _draw_run(axes: Axes, points: Sequence[tuple[float, ContextLength]], color: str) -> None:
    cut = [(place, each.gain) for place, each in points if each.context is not None]
    axes.plot(*zip(*cut, strict=True), color=color, linewidth=1.8)
    for place, each in points:
        axes.plot(place, each.gain, "o", color=color, markersize=5, clip_on=False)
        if each.interval is not None and each is not points[0][1]:
            axes.plot([place, place], each.interval, color=color, linewidth=1.2, marker="_", markersize=7)


def _limit(axes: Axes, gains: Sequence[float]) -> None:
    """Limits the y axis to the gains, from zero where none is much below it; what is all but zero is drawn as that."""
    low, high = min(gains), max(_LEAST, *gains)
    if low > -0.02 * high:
        limit_from_zero(axes, high)
    else:
        axes.set_ylim(*room_around(np.array([low, high])))
