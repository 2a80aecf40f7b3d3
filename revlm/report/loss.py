"""The loss picture: training loss, thin as it was and thick as its running mean, and the held-out loss."""

import numpy as np
from matplotlib.figure import Figure

from revlm.report.canvas import ROW, Canvas, KeyEntry, line_style
from revlm.report.history import History, finite_series
from revlm.report.scales import room_around
from revlm.report.series import smoothed
from revlm.report.summary import last_loss


def draw_loss(history: History, canvas: Canvas) -> Figure:
    """Losses over steps in nats a token; on the right in bits per byte, where one scale serves all steps."""
    theme = canvas.theme
    steps, losses = history.step_numbers, history.series("loss")
    held_out = finite_series(history.evaluations, "loss")
    held_out_steps = np.array([evaluation.step for evaluation in history.evaluations])
    last = last_loss(losses)
    key = [KeyEntry("training" if last is None else f"training, {last:.3f} at the end", theme.blue)]
    if np.isfinite(held_out).any():
        last_held_out = held_out[np.isfinite(held_out)][-1]
        key.append(KeyEntry(f"held out, {last_held_out:.3f} at the end", theme.orange, "D"))

    factor = bits_per_byte_factor(history)
    right = 0.2 if factor is None else 0.6
    top = canvas.head_height(key) + ROW + 0.16
    height = 2.6 if canvas.narrow else 3.4
    figure = canvas.figure(top + height + 0.6)
    canvas.head(figure, key)
    axes = canvas.panel(figure, 0.6, top, canvas.width - 0.6 - right, height, "nats a token")

    mean = smoothed(losses)
    if mean is losses:
        axes.plot(steps, losses, color=theme.blue, **line_style(len(steps)))
    else:
        axes.plot(steps, losses, color=theme.blue, alpha=0.35, linewidth=0.7)
        axes.plot(steps, mean, color=theme.blue, linewidth=2.0)
    axes.plot(
        held_out_steps,
        held_out,
        color=theme.orange,
        linewidth=1.0,
        marker="D",
        markersize=5 if len(held_out) <= 40 else 3,
        markeredgecolor=theme.paper,
        markeredgewidth=0.6,
    )
    low, high = room_around(np.concatenate([losses, held_out]))
    axes.set_ylim(low, high)
    canvas.step_axis(axes, history)
    if factor is not None:
        scale = canvas.panel(figure, 0.6, top, canvas.width - 0.6 - right, height, "")
        scale.patch.set_visible(False)
        scale.grid(visible=False)
        scale.yaxis.tick_right()
        scale.tick_params(length=0)
        scale.set_xticks([])
        scale.set_ylim(low * factor, high * factor)
        canvas.write(figure, canvas.width - 0.1, top - ROW - 0.08, "bits per byte", color=theme.muted, align="right")
    return figure


def bits_per_byte_factor(history: History) -> float | None:
    """Bits per byte for one nat a token, where nine of ten steps agree on it to a twentieth; else None.

    It varies with the text: a step's tokens may stand for more or for fewer bytes.
    """
    ratios = history.series("bits_per_byte") / history.series("loss")
    ratios = ratios[np.isfinite(ratios)]
    if len(ratios) == 0:
        return None
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    return float(middle) if high - low <= 0.1 * middle else None
