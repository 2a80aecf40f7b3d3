"""What changes over the steps of a run: its loss, its throughput, and how each hash layer uses its buckets."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from revlm.records import LayerUse
from revlm.report.bins import FloatArray
from revlm.report.history import USES, History
from revlm.report.pictures.canvas import Canvas, KeyEntry, limit_from_zero, line_style, room_around
from revlm.report.pictures.series import smoothed
from revlm.report.summary import last_loss
from revlm.text import human_count

_RATE_HEIGHT, _USE_HEIGHT = 1.6, 1.25  # inches
_LABELS_AT_MOST = 6
FLOPS_PER_SECOND = "model_flops_per_second"


def draw_loss(history: History, canvas: Canvas) -> Figure:
    """Losses over the steps in nats per token; on the right also in bits per byte, if one factor fits all steps."""
    theme, journal = canvas.theme, history.journal
    steps, losses = history.step_numbers, history.series("loss")
    held_out, held_out_steps = journal.validations.means("loss"), journal.validations.highs("step")
    last = last_loss(history)
    key = [KeyEntry("training" if last is None else f"training, {last:.5g} at the end", theme.blue)]
    if np.isfinite(held_out).any():
        last_held_out = held_out[np.isfinite(held_out)][-1]
        key.append(KeyEntry(f"held out, {last_held_out:.5g} at the end", theme.orange, "D"))
    figure, axes = canvas.panel(2.6 if canvas.narrow else 3.4, "nats a token", key=key)
    mean = smoothed(losses)
    drawn = [losses, held_out]
    if mean is losses:
        axes.plot(steps, losses, color=theme.blue, **line_style(len(steps)))
    else:
        if journal.steps.width > 1:
            lows, highs = journal.steps.lows("loss"), journal.steps.highs("loss")
            axes.fill_between(steps, lows, highs, color=theme.blue, alpha=0.25, linewidth=0)
            drawn += [lows, highs]
        else:
            axes.plot(steps, losses, color=theme.blue, alpha=0.35, linewidth=0.7)
        axes.plot(steps, mean, color=theme.blue, linewidth=2.0)
    axes.plot(
        held_out_steps,
        held_out,
        color=theme.orange,
        linewidth=1.0,
        marker="D" if len(held_out) <= 200 else "",
        markersize=5 if len(held_out) <= 40 else 3,
        markeredgecolor=theme.paper,
        markeredgewidth=0.6,
    )
    axes.set_ylim(*room_around(np.concatenate(drawn)))
    for step, seq_len in history.seq_len_changes:
        canvas.change(axes, step, f"{seq_len:,}")
    canvas.step_axis(axes, history)
    if (factor := bits_per_byte_factor(history)) is not None:
        canvas.right_scale(axes, factor, "bits per byte")
    return figure


def bits_per_byte_factor(history: History) -> float | None:
    """Bits per byte for one nat a token, where nine of ten steps agree on it to a twentieth; else None.

    It varies with the text: a step's tokens may stand for more or for fewer bytes.
    """
    losses = history.series("loss")
    ratios = history.series("bits_per_byte")[losses > 0] / losses[losses > 0]
    ratios = ratios[np.isfinite(ratios)]
    if len(ratios) == 0:
        return None
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    return float(middle) if low > 0 and high - low <= 0.1 * middle else None


def draw_throughput(history: History, canvas: Canvas) -> Figure:
    """Tokens a second over the steps, from zero, and their median; below, the model's FLOPs a second where recorded.

    On the right of these is their share of the GPUs' peak, where it is known.
    """
    keys = {"tokens_per_second": "tokens a second"}
    if np.isfinite(flops := history.series(FLOPS_PER_SECOND)).any():
        keys[FLOPS_PER_SECOND] = "model FLOPs a second"
    figure, panels = canvas.panels([[key] for key in keys], [_RATE_HEIGHT] * len(keys))
    for key, caption in keys.items():
        canvas.caption(panels[key], caption)
        _draw_rate(panels[key], history, canvas, history.series(key), labelled=key == list(keys)[-1])
    shares = history.series("mfu") / np.where(flops > 0, flops, np.nan)
    if FLOPS_PER_SECOND in keys and np.isfinite(shares).any():
        canvas.right_scale(panels[FLOPS_PER_SECOND], 100 * float(np.nanmedian(shares)), "% of the peak")
    return figure


def _draw_rate(axes: Axes, history: History, canvas: Canvas, rates: FloatArray, *, labelled: bool) -> None:
    axes.plot(history.step_numbers, rates, color=canvas.theme.blue, **line_style(len(rates), noisy=True))
    known = rates[np.isfinite(rates)]
    limit_from_zero(axes, float(known.max()) if len(known) else 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: human_count(value)))
    canvas.step_axis(axes, history, labelled=labelled)
    if len(known):
        median = float(np.median(known))
        axes.axhline(median, color=canvas.theme.ink, linewidth=1.0, linestyle="--")
        canvas.end_labels(axes, [(f"median\n{human_count(median)}", median, canvas.theme.ink)], _RATE_HEIGHT)


def has_hash_layers(history: History) -> bool:
    """Whether any step recorded how a hash layer used its buckets."""
    return any(_by_layer(history, key) for key in USES)


def draw_buckets(history: History, canvas: Canvas) -> Figure:
    """A panel for each measure over the steps, with a line for each hash layer, darker towards the input."""
    figure, panels = canvas.panels([[key] for key in USES], [_USE_HEIGHT] * len(USES))
    for key in USES:
        axes = panels[key]
        canvas.caption(axes, LayerUse.model_fields[key].description or key)
        _draw_lines(axes, history, canvas, _by_layer(history, key))
        canvas.step_axis(axes, history, labelled=key == USES[-1])
    return figure


def _draw_lines(axes: Axes, history: History, canvas: Canvas, lines: dict[int, FloatArray]) -> None:
    largest = max((float(np.nanmax(line)) for line in lines.values()), default=1.0)
    limit_from_zero(axes, max(largest, 1e-3))
    if largest <= 1:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    labelled = set(lines)
    if len(lines) > _LABELS_AT_MOST:
        layers = sorted(lines)
        labelled = {layers[0], layers[len(layers) // 2], layers[-1]}
    labels = []
    steps = history.journal.uses.highs("step")
    for (layer, line), color in zip(sorted(lines.items()), canvas.theme.depth_colors(len(lines)), strict=True):
        axes.plot(steps, smoothed(line), color=color, **line_style(len(line)))
        if layer in labelled:
            labels.append((f"layer {layer}", float(line[np.isfinite(line)][-1]), color))
    if not lines:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, color=canvas.theme.muted, ha="center")
    canvas.end_labels(axes, labels, _USE_HEIGHT)


def _by_layer(history: History, key: str) -> dict[int, FloatArray]:
    """The values of `key` for each hash layer, `[bins]`; layers without a value are omitted."""
    uses = history.journal.uses
    lines = {column[0]: uses.means(column) for column in uses.columns if isinstance(column, tuple) and column[1] == key}
    return {layer: line for layer, line in lines.items() if np.isfinite(line).any()}
