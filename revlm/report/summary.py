"""The key figures of a run."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from revlm.report.bins import FloatArray
from revlm.report.history import History


@dataclass(frozen=True)
class Summary:
    """Key figures; None where the run did not record what a figure is made of.

    Losses are nats a token, memory is absolute bytes, `seconds` is time in training steps, without evaluation
    and without the time between an interruption and a resume. `last_loss` is that of `last_loss`; throughput and
    what is derived from it are medians over steps, in a run of more than 4,096 over bins of them.
    """

    steps: int
    planned_steps: int | None
    tokens: int
    first_loss: float | None
    last_loss: float | None
    best_bits_per_byte: float | None
    best_bits_per_byte_step: int | None
    tokens_per_second: float | None
    model_flops_per_second: float | None
    mfu: float | None
    peak_memory_bytes: int | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, ready for JSON."""
        return asdict(self)


def summarize(history: History) -> Summary:
    """The key figures of a run."""
    journal = history.journal
    planned = history.setting("train.max_steps")
    return Summary(
        steps=journal.last_step,
        planned_steps=planned if isinstance(planned, int) else None,
        tokens=int(history.tokens_seen[-1]),
        first_loss=journal.first_loss,
        last_loss=last_loss(history),
        best_bits_per_byte=None if journal.best is None else journal.best["bits_per_byte"],
        best_bits_per_byte_step=None if journal.best is None else journal.best["step"],
        tokens_per_second=_median(history.series("tokens_per_second")),
        model_flops_per_second=_median(history.series("model_flops_per_second")),
        mfu=_median(history.series("mfu")),
        peak_memory_bytes=peak_memory_bytes(history),
        seconds=float(history.seconds_passed[-1]),
    )


def last_loss(history: History) -> float | None:
    """The mean of the finite losses among the last five; None if there is none."""
    last = [loss for loss in history.journal.last_losses if loss is not None]
    return sum(last) / len(last) if last else None


def peak_memory_bytes(history: History) -> int | None:
    """The largest peak of any step, in absolute bytes."""
    peaks = history.peaks("memory_peak_bytes")
    return int(np.nanmax(peaks)) if np.isfinite(peaks).any() else None


def _median(values: FloatArray) -> float | None:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else None
