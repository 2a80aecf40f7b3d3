"""Pictures of several runs: their losses over each other, and their peaks of memory."""

from collections.abc import Sequence
from os.path import commonpath
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.report.canvas import FONT_SIZE, ROW, Canvas, KeyEntry, place_ticks
from revlm.report.history import FloatArray, History
from revlm.report.series import smoothed
from revlm.report.summary import peak_memory_bytes
from revlm.report.units import byte_unit, human_bytes, human_count, time_unit

LONGEST_NAME = 32


def run_names(histories: Sequence[History]) -> list[str]:
    """The folders of the runs as seen from the folder that holds them all."""
    folders = [history.folder.resolve() for history in histories]
    common = commonpath([folder.parent for folder in folders])
    return [str(folder.relative_to(common)) for folder in folders]


def loss_measure(histories: Sequence[History]) -> tuple[str, str]:
    """The key of the loss to compare and its unit: bits per byte, where every run recorded them."""
    if all(np.isfinite(history.series("bits_per_byte")).any() for history in histories):
        return "bits_per_byte", "bits per byte"
    return "loss", "nats a token"


def draw_losses(histories: Sequence[History], canvas: Canvas) -> Figure:
    """Running means by tokens seen and by time, since runs may differ in tokens a step and in speed."""
    key = [
        KeyEntry(_short(name), canvas.theme.run_color(place), _line(canvas, place))
        for place, name in enumerate(run_names(histories))
    ]
    height = 2.3 if canvas.narrow else 3.2
    top = canvas.head_height(key) + ROW + 0.18
    width = canvas.width - 0.8 if canvas.narrow else canvas.width / 2 - 0.8
    second_left, second_top = (0.6, top + height + 0.95) if canvas.narrow else (canvas.width / 2 + 0.6, top)
    figure = canvas.figure(second_top + height + 0.65)
    canvas.head(figure, key)
    measure, unit = loss_measure(histories)
    losses = [smoothed(history.series(measure)) for history in histories]
    tokens = [history.running_sum("tokens") for history in histories]
    axes = canvas.panel(figure, 0.6, top, width, height, unit)
    _draw_against(tokens, "tokens seen", losses, axes, canvas)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: human_count(value)))

    times = [history.running_sum("seconds") for history in histories]
    seconds, name = time_unit(_last(times))
    axes = canvas.panel(figure, second_left, second_top, width, height, unit)
    _draw_against([time / seconds for time in times], f"{name} in steps", losses, axes, canvas)
    return figure


def _draw_against(
    places: Sequence[FloatArray], label: str, losses: Sequence[FloatArray], axes: Axes, canvas: Canvas
) -> None:
    for run, (along, loss) in enumerate(zip(places, losses, strict=True)):
        axes.plot(
            along,
            loss,
            color=canvas.theme.run_color(run),
            linestyle=_line(canvas, run),
            linewidth=1.8,
            marker="o" if len(along) == 1 else "",
        )
    place_ticks(axes, np.array([0.0, _last(places)]))
    axes.set_xlabel(label, color=canvas.theme.muted, size=FONT_SIZE, labelpad=5)


def _last(places: Sequence[FloatArray]) -> float:
    """Where the run that goes furthest ends; 1 where no run recorded how far it went."""
    return max((float(along[-1]) for along in places if np.isfinite(along[-1])), default=1.0)


def draw_peaks(histories: Sequence[History], canvas: Canvas) -> Figure:
    """One bar a run, from zero; grey is what the process took before the model."""
    bar = 0.34
    top = canvas.head_height() + 0.05
    left = 0.1
    figure = canvas.figure(top + len(histories) * (bar + ROW) + 0.15)
    peaks = [peak_memory_bytes(history) or 0 for history in histories]
    divisor, _ = byte_unit(max(*peaks, 1))
    axes = canvas.panel(figure, left, top, canvas.width - 1.1, len(histories) * (bar + ROW), "")
    for place, (history, name) in enumerate(zip(histories, run_names(histories), strict=True)):
        baseline = min(history.steps[-1].memory_baseline_bytes or 0, peaks[place]) / divisor
        peak = peaks[place] / divisor
        axes.barh(place, baseline, 0.4, color=canvas.theme.muted, alpha=0.45, linewidth=0)
        axes.barh(place, peak - baseline, 0.4, left=baseline, color=canvas.theme.run_color(place), linewidth=0)
        canvas.mark(axes, human_bytes(peaks[place] or None), peak, place)
        axes.annotate(
            _short(name),
            (0, place - 0.4),
            va="center",
            size=FONT_SIZE,
            color=canvas.theme.muted,
            annotation_clip=False,
        )
    axes.set_ylim(len(histories) - 0.5, -0.6)
    axes.set_xlim(0, max(*peaks, 1) / divisor)
    axes.set_axis_off()
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]


def _line(canvas: Canvas, place: int) -> Literal["-", "--"]:
    """Dashes tell runs apart once the colours begin again."""
    return "-" if place < len(canvas.theme.runs) else "--"
