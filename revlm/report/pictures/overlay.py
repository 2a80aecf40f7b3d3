"""Pictures that compare several runs: losses and peak memory."""

from collections.abc import Sequence
from os.path import commonpath
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.report.bins import FloatArray
from revlm.report.history import History
from revlm.report.pictures.canvas import Canvas, KeyEntry, place_ticks, shortened
from revlm.report.pictures.series import smoothed
from revlm.report.summary import peak_memory_bytes
from revlm.text import human_bytes, human_count, time_unit


def run_names(histories: Sequence[History]) -> list[str]:
    """The paths of the runs relative to the folder that contains them all."""
    folders = [history.folder.resolve() for history in histories]
    common = commonpath([folder.parent for folder in folders])
    return [str(folder.relative_to(common)) for folder in folders]


def loss_measure(histories: Sequence[History]) -> tuple[str, str]:
    """The key and unit of the loss to compare: bits per byte if every run recorded them."""
    if all(np.isfinite(history.series("bits_per_byte")).any() for history in histories):
        return "bits_per_byte", "bits per byte"
    return "loss", "nats a token"


def run_key(names: Sequence[str], canvas: Canvas) -> list[KeyEntry]:
    """The legend of the runs; dashed lines tell runs apart once the colours repeat."""
    return [KeyEntry(name, canvas.theme.run_color(place), line_of(canvas, place)) for place, name in enumerate(names)]


def line_of(canvas: Canvas, place: int) -> Literal["-", "--"]:
    """The line style of the run at a place."""
    return "-" if place < len(canvas.theme.runs) else "--"


def draw_losses(histories: Sequence[History], canvas: Canvas) -> Figure:
    """Running means of the losses by tokens seen and by time, since runs differ in tokens per step and speed."""
    height = 2.3 if canvas.narrow else 3.2
    rows = [["tokens"], ["time"]] if canvas.narrow else [["tokens", "time"]]
    figure, panels = canvas.panels(rows, [height] * len(rows), key=run_key(run_names(histories), canvas))
    measure, unit = loss_measure(histories)
    losses = [smoothed(history.series(measure)) for history in histories]
    times = [history.seconds_passed for history in histories]
    seconds, name = time_unit(_last(times))
    _draw_against([history.tokens_seen for history in histories], losses, panels["tokens"], canvas)
    _draw_against([time / seconds for time in times], losses, panels["time"], canvas)
    panels["tokens"].xaxis.set_major_formatter(FuncFormatter(lambda value, _: human_count(value)))
    canvas.below(panels["tokens"], "tokens seen")
    canvas.below(panels["time"], f"{name} in steps")
    for axes in panels.values():
        canvas.caption(axes, unit)
    return figure


def _draw_against(places: Sequence[FloatArray], losses: Sequence[FloatArray], axes: Axes, canvas: Canvas) -> None:
    for run, (along, loss) in enumerate(zip(places, losses, strict=True)):
        axes.plot(
            along,
            loss,
            color=canvas.theme.run_color(run),
            linestyle=line_of(canvas, run),
            linewidth=1.8,
            marker="o" if len(along) == 1 else "",
        )
    place_ticks(axes, np.array([0.0, _last(places)]), canvas.width * (1.0 if canvas.narrow else 0.5))


def _last(places: Sequence[FloatArray]) -> float:
    """The end of the longest run; 1 if no run recorded it."""
    return max((float(along[-1]) for along in places if np.isfinite(along[-1])), default=0.0) or 1.0


def draw_peaks(histories: Sequence[History], canvas: Canvas) -> Figure:
    """A bar for each run, from zero; the grey part is the memory before the model."""
    peaks = [peak_memory_bytes(history) or 0 for history in histories]
    figure, panels = canvas.panels([["runs"]], [0.34 * len(histories)])
    axes = panels["runs"]
    canvas.bars(axes, [shortened(name) for name in run_names(histories)])
    axes.set_xlim(0, max(*peaks, 1))
    for place, (history, peak) in enumerate(zip(histories, peaks, strict=True)):
        baseline = min(history.journal.largest["memory_baseline_bytes"] or 0, peak)
        axes.barh(place, baseline, 0.5, color=canvas.theme.muted, alpha=0.45, linewidth=0)
        axes.barh(place, peak - baseline, 0.5, left=baseline, color=canvas.theme.run_color(place), linewidth=0)
        canvas.mark(axes, human_bytes(peak or None), peak, place)
    return figure
