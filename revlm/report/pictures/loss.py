"""The loss picture: training loss, thin as it was and thick as its running mean, and the held-out loss."""

import numpy as np
from matplotlib.figure import Figure

from revlm.report.history import History
from revlm.report.pictures.canvas import Canvas, KeyEntry, line_style, room_around
from revlm.report.pictures.series import smoothed
from revlm.report.summary import last_loss


def draw_loss(history: History, canvas: Canvas) -> Figure:
    """Losses over steps in nats a token; on the right in bits per byte, where one scale serves all steps."""
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
