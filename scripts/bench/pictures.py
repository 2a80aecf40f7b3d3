"""Pictures of time and memory against length, and memory against depth, in the style of revlm's reports.

Each system is drawn in its faster precision; notes below list the measurements that did not fit or finish.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.schedule import DEPTH_SYSTEMS, Suite
from bench.summary import Row, faster_precision
from bench.systems import SYSTEMS
from revlm.report.files import write_whole
from revlm.report.pictures.canvas import Canvas, KeyEntry, limit_from_zero, to_png
from revlm.report.pictures.picture import WIDE_INCHES
from revlm.report.pictures.theme import LIGHT
from revlm.text import byte_unit

_HEIGHT = 3.4
_COLORS = {system: LIGHT.run_color(place) for place, system in enumerate(SYSTEMS)}


def write_pictures(folder: Path, rows: Sequence[Row], suite: Suite) -> list[Path]:
    """Writes time.png and memory.png where lengths were compared, depth.png where depths were. Raises StorageError."""
    pictures = {}
    if any(row.seconds for row in rows):
        if len(suite.lengths) > 1:
            pictures["time.png"] = time_picture(rows, suite.layers[0])
            pictures["memory.png"] = memory_picture(rows, suite.layers[0])
        if len(suite.layers) > 1:
            pictures["depth.png"] = depth_picture(rows, suite.depth_tokens)
    for name, content in pictures.items():
        write_whole(folder / name, content)
    return [folder / name for name in pictures]


def time_picture(rows: Sequence[Row], layers: int) -> bytes:
    """Returns a PNG of the seconds of one example, forward and backward, against its length; both axes logarithmic."""
    title = f"One example forwards and backwards, {layers} layers"
    return _against_length(rows, layers, title, "seconds", lambda row: row.seconds, "{:,g}".format)


def memory_picture(rows: Sequence[Row], layers: int) -> bytes:
    """Returns a PNG of the peak of resident memory against the example's length; both axes logarithmic."""
    title = f"Peak memory of one example, {layers} layers"
    return _against_length(rows, layers, title, "resident memory", lambda row: row.peak_bytes, _whole_bytes)


def depth_picture(rows: Sequence[Row], tokens: int) -> bytes:
    """Returns a PNG of the peak beyond the model and its gradients against the number of layers."""
    rows = [row for row in rows if row.cell.tokens == tokens and row.cell.system in DEPTH_SYSTEMS]
    lines = _lines(rows, lambda row: row.cell.layers, lambda row: row.working_bytes)
    largest = max((height for line in lines.values() for _, height in line), default=1)
    divisor, unit = byte_unit(largest)
    canvas = Canvas(LIGHT, WIDE_INCHES, f"Peak memory against depth, {tokens:,} tokens")
    figure, axes = _figure(canvas, lines, f"beyond model and gradients, {unit}", _notes(rows))
    for system, line in lines.items():
        axes.plot([depth for depth, _ in line], [height / divisor for _, height in line], **_style(system))
    limit_from_zero(axes, largest / divisor)
    axes.set_xticks(sorted({row.cell.layers for row in rows}))
    canvas.below(axes, "layers")
    return to_png(figure)


def _against_length(
    rows: Sequence[Row],
    layers: int,
    title: str,
    caption: str,
    value: Callable[[Row], float | None],
    words: Callable[[float], str],
) -> bytes:
    rows = [row for row in rows if row.cell.layers == layers]
    lines = _lines(rows, lambda row: row.cell.tokens, value)
    canvas = Canvas(LIGHT, WIDE_INCHES, title)
    figure, axes = _figure(canvas, lines, caption, _notes(rows))
    for system, line in lines.items():
        axes.plot([tokens for tokens, _ in line], [height for _, height in line], **_style(system))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted({row.cell.tokens for row in rows}))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens:,.0f}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda height, _: words(height)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    canvas.below(axes, "tokens")
    return to_png(figure)


def _lines(
    rows: Sequence[Row], along: Callable[[Row], int], value: Callable[[Row], float | None]
) -> dict[str, list[tuple[int, float]]]:
    """Returns the points of each system, each in the system's faster precision."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for system, _, tokens, layers in dict.fromkeys(row.cell._replace(precision="") for row in rows):
        row = faster_precision(rows, system, tokens, layers)
        height = None if row is None else value(row)
        lines.setdefault(system, [])
        if row is not None and height is not None:
            lines[system].append((along(row), height))
    return {system: sorted(line) for system, line in lines.items()}


def _notes(rows: Sequence[Row]) -> list[str]:
    """Returns a sentence for each system and size without a point."""
    notes: dict[tuple[Any, ...], str] = {}
    for row in rows:
        system, _, tokens, layers = row.cell
        if faster_precision(rows, system, tokens, layers) is None:
            label = SYSTEMS[system].label
            notes.setdefault((system, tokens, layers), f"{label}, {tokens:,} tokens, {layers} layers: {row.why}")
    return list(notes.values())


def _figure(
    canvas: Canvas, lines: dict[str, list[tuple[int, float]]], caption: str, notes: Sequence[str]
) -> tuple[Figure, Axes]:
    key = [KeyEntry(SYSTEMS[system].label, _COLORS[system]) for system in lines]
    figure, axes = canvas.panel(_HEIGHT, caption, key=key)
    if notes:
        canvas.notes(figure, notes)
    return figure, axes


def _whole_bytes(number: float) -> str:
    divisor, unit = byte_unit(number)
    return f"{number / divisor:g} {unit}"


def _style(system: str) -> dict[str, Any]:
    return {"color": _COLORS[system], "linewidth": 1.8, "marker": "o", "markersize": 3.5}
