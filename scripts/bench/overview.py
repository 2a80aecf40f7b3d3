"""The picture of the README: time and memory against length and depth, revlm beside its peers."""

from collections.abc import Callable, Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.schedule import DEPTH_SYSTEMS
from bench.systems import SYSTEMS
from revlm.report.pictures.theme import LIGHT

_COLORS = {system: LIGHT.run_color(place) for place, system in enumerate(SYSTEMS)}
_GIGABYTE = 1e9

Row = dict[str, Any]
Value = Callable[[Row], float]


def overview(peers: list[Row], long: list[Row]) -> Figure:
    """Returns a figure of three panels; of `long` it takes the lengths that `peers` does not have."""
    layers = min(row["layers"] for row in peers)
    known = {row["tokens"] for row in peers}
    by_length = [row for row in peers if row["layers"] == layers]
    by_length += [row for row in long if row["layers"] == layers and row["tokens"] not in known]
    tokens = max(known)
    by_depth = [row for row in peers if row["tokens"] == tokens and row["system"] in DEPTH_SYSTEMS]

    figure = Figure(figsize=(11, 4.8), layout="constrained", facecolor=LIGHT.paper)
    time, memory, depth = figure.subplots(1, 3)
    _against_length(
        time, by_length, lambda row: row["seconds"], f"Forward + backward in s, {layers} layers", "{:,.3g} s"
    )
    _against_length(
        memory, by_length, lambda row: row["peak_bytes"] / _GIGABYTE, f"Peak memory in GB, {layers} layers", "{:.3g} GB"
    )
    _against_depth(depth, by_depth, tokens)
    lines = {line.get_label(): line for line in time.get_lines()}
    key = figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines), frameon=False)
    for text, line in zip(key.get_texts(), lines.values(), strict=True):
        text.set_color(str(line.get_color()))
    return figure


def _against_length(axes: Axes, rows: list[Row], value: Value, title: str, words: str) -> None:
    _panel(axes, title, "tokens of one example")
    _draw(axes, rows, "tokens", value, words)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted({row["tokens"] for row in rows}))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens / 1024:,.0f}K"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda height, _: f"{height:,g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.margins(x=0.18, y=0.08)


def _against_depth(axes: Axes, rows: list[Row], tokens: int) -> None:
    _panel(axes, f"Activations in GB, {tokens:,} tokens", "layers")
    _draw(axes, rows, "layers", lambda row: row["working_bytes"] / _GIGABYTE, "{:.3g} GB")
    axes.set_xticks(sorted({row["layers"] for row in rows}))
    axes.set_ylim(0, 14)
    axes.margins(x=0.2)
    for row in rows:
        if row["status"] != "done":
            color = _COLORS[row["system"]]
            text = f"{row['layers']} layers:\n{row['why'].removesuffix(' resident')}"
            axes.annotate(text, (row["layers"], 13.4), ha="center", va="top", color=color, size=9)


def _panel(axes: Axes, title: str, along: str) -> None:
    axes.set_title(title, loc="left", size=11, weight="bold", color=LIGHT.ink)
    axes.set_xlabel(along, color=LIGHT.muted)
    axes.tick_params(colors=LIGHT.muted, length=0)
    axes.grid(axis="y", color=LIGHT.rule, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT.muted)


def _draw(axes: Axes, rows: Iterable[Row], along: str, value: Value, words: str) -> None:
    """Draws a line a system, with the value of its last point beside that point."""
    done = [row for row in rows if row["status"] == "done"]
    for system in dict.fromkeys(row["system"] for row in done):
        points = sorted((row[along], value(row)) for row in done if row["system"] == system)
        color = _COLORS[system]
        axes.plot(*zip(*points, strict=True), color=color, marker="o", markersize=4, label=SYSTEMS[system].label)
        text = words.format(points[-1][1])
        label = axes.annotate(text, points[-1], (7, 0), textcoords="offset points", va="center", color=color, size=9)
        label.set_path_effects([withStroke(linewidth=3, foreground=LIGHT.paper)])
