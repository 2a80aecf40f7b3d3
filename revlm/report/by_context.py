"""The picture of what long context gives: the gain over the smallest context on the same targets."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from revlm.report.canvas import ROW, Canvas, KeyEntry, limit_from_zero
from revlm.report.evaluated import Context
from revlm.report.units import binary_count

# Runs stand side by side at a context, so that their intervals do not lie over each other.
_APART = 0.08


def draw_by_context(runs: Mapping[str, Context | None], canvas: Canvas) -> Figure:
    """Gains in nats a token with their intervals over documents, by the names of runs; None was not asked.

    The context `all` stands apart at the right.
    """
    theme = canvas.theme
    shown = [(name, run.lengths, theme.run_color(place)) for place, (name, run) in enumerate(runs.items()) if run]
    key = [KeyEntry(name, color) for name, _, color in shown] if len(runs) > 1 else []
    top = canvas.head_height(key) + ROW + 0.18
    height = 2.3 if canvas.narrow else 2.9
    figure = canvas.figure(top + height + 0.6)
    canvas.head(figure, key)
    axes = canvas.panel(figure, 0.6, top, canvas.width - 0.8, height, "gain over the smallest context, nats a token")
    contexts = sorted({each.context for _, lengths, _ in shown for each in lengths if each.context is not None})
    places: dict[int | None, float] = {context: place for place, context in enumerate(contexts)}
    places[None] = len(contexts)
    axes.axhline(0, color=theme.muted, linewidth=1.0)
    for number, (_, lengths, color) in enumerate(shown):
        shift = _APART * (number - (len(shown) - 1) / 2)
        points = [(places[each.context] + shift, each) for each in lengths]
        cut = [(place, each.gain) for place, each in points if each.context is not None]
        axes.plot(*zip(*cut, strict=True), color=color, linewidth=1.8)
        axes.plot([place for place, _ in points], [each.gain for _, each in points], "o", color=color, markersize=5)
        for place, each in points:
            if each.interval is not None and each.context != lengths[0].context:
                axes.plot([place, place], each.interval, color=color, linewidth=1.2, marker="_", markersize=7)
            if len(shown) == 1 and each.context != lengths[0].context:
                canvas.mark(axes, f"{each.gain:+.3f}", place, each.gain)
    bounds = [bound for _, lengths, _ in shown for each in lengths for bound in (each.gain, *(each.interval or ()))]
    if min(bounds) >= 0:
        limit_from_zero(axes, max(bounds) or 1.0)
    axes.set_xlim(-0.35, len(contexts) + 0.35)
    axes.set_xticks(list(places.values()), [*map(binary_count, contexts), "all"])
    canvas.write(figure, 0.6, top + height + 0.34, "tokens of context", color=theme.muted)
    return figure
