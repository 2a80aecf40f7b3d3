"""The picture of ablations: the loss without each layer's attention, and by rounds of hashing."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.report.canvas import ROW, Canvas, KeyEntry
from revlm.report.evaluated import Ablation, Ablations
from revlm.report.scales import power_axis
from revlm.report.theme import Theme
from revlm.report.units import human_count

_BAR = 0.26


def draw_ablations(ablations: Ablations, canvas: Canvas) -> Figure:
    """Bars of the increase of the loss, one a layer and one a kind; beside them the increase by rounds."""
    kinds = dict.fromkeys(each.kind for each in ablations.layers)
    key = [KeyEntry(kind, _color(canvas.theme, kind), "s") for kind in kinds]
    top = canvas.head_height(key) + ROW + 0.18
    bars = [*ablations.layers, *ablations.kinds]
    height = max(1.8, _BAR * (len(bars) + 1))
    beside = bool(ablations.rounds) and not canvas.narrow
    width = canvas.width * 0.6 - 1.6 if beside else canvas.width - 1.6
    below = bool(ablations.rounds) and canvas.narrow
    figure = canvas.figure(top + height + 0.35 + (2.7 if below else 0.25 if beside else 0.0))
    canvas.head(figure, key)
    axes = canvas.panel(figure, 1.0, top, width, height, "")
    canvas.write(
        figure, 0.1, top - ROW - 0.08, "increase of the loss without attention, nats a token", color=canvas.theme.muted
    )
    _draw_bars(axes, bars, len(ablations.layers), canvas)
    if ablations.rounds:
        left, panel_top = (0.6, top + height + 0.75) if below else (canvas.width * 0.6 + 0.75, top)
        panel_width, panel_height = canvas.width - left - 0.2, 1.5 if below else height - 0.0
        caption = "by rounds of hashing"
        axes = canvas.panel(figure, left, panel_top, panel_width, panel_height, caption)
        _draw_rounds(axes, ablations, canvas)
        canvas.write(figure, left, panel_top + panel_height + 0.34, "rounds", color=canvas.theme.muted)
    return figure


def _draw_bars(axes: Axes, bars: list[Ablation], n_layers: int, canvas: Canvas) -> None:
    gap = 0.6  # between the layers and the kinds
    places = [place + gap * (place >= n_layers) for place in range(len(bars))]
    increases = [each.increase for each in bars]
    axes.barh(places, increases, 0.66, color=[_color(canvas.theme, each.kind) for each in bars], linewidth=0)
    axes.grid(visible=False)
    axes.set_yticks(places, [_name(each, place < n_layers) for place, each in enumerate(bars)])
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.axvline(0, color=canvas.theme.muted, linewidth=1.0)
    low, high = min(0.0, *increases), max(0.0, *increases)
    axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low) or 1.0)
    for place, increase in zip(places, increases, strict=True):
        canvas.mark(axes, f"{increase:+.3f}", max(increase, 0.0), place)


def _draw_rounds(axes: Axes, ablations: Ablations, canvas: Canvas) -> None:
    rounds = np.array([each.rounds for each in ablations.rounds])
    increases = np.array([each.increase for each in ablations.rounds])
    color = _color(canvas.theme, "lsh")
    axes.axhline(0, color=canvas.theme.muted, linewidth=1.0)
    axes.plot(rounds, increases, color=color, linewidth=1.8)
    hollow = rounds != ablations.own_rounds
    axes.plot(rounds[~hollow], increases[~hollow], color=color, marker="o", markersize=6, linestyle="")
    axes.plot(
        rounds[hollow],
        increases[hollow],
        color=color,
        marker="o",
        markersize=6,
        linestyle="",
        markerfacecolor=canvas.theme.paper,
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    power_axis(axes, int(rounds[0]), int(rounds[-1]), factor=2, label=human_count)


def _name(ablation: Ablation, is_layer: bool) -> str:
    return f"layer {ablation.layers[0]}" if is_layer else f"all {ablation.kind}"


def _color(theme: Theme, kind: str) -> str:
    return {"local": theme.blue, "lsh": theme.orange, "full": theme.green}.get(kind, theme.muted)
