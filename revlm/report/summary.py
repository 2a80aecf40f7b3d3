"""The key figures of a run: the few numbers that a reader compares first."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from revlm.report.history import FloatArray, History, finite_series


@dataclass(frozen=True)
class Summary:
    """Key figures; None where the run did not record what a figure is made of.

    Losses are nats a token, memory is absolute bytes, `seconds` is time in training steps, without evaluation
    and without the time that an interrupted run stood still.
    """

    steps: int
    planned_steps: int | None
    tokens: int | None
    tokens_exact: bool
    first_loss: float | None
    last_loss: float | None
    best_bits_per_byte: float | None
    best_bits_per_byte_step: int | None
    tokens_per_second: float | None
    peak_memory_bytes: int | None
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, ready for JSON."""
        return asdict(self)


def summarize(history: History) -> Summary:
    """The key figures of a run: the last loss is that of `last_loss`, throughput the median over steps."""
    losses = history.series("loss")
    validation = finite_series(history.evaluations, "bits_per_byte")
    best = int(np.nanargmin(validation)) if np.isfinite(validation).any() else None
    tokens = history.running_sum("tokens")[-1]
    planned = history.setting("train.max_steps")
    return Summary(
        steps=history.steps[-1].step,
        planned_steps=planned if isinstance(planned, int) else None,
        tokens=None if np.isnan(tokens) else int(tokens),
        tokens_exact=history.every_step_recorded,
        first_loss=_number(losses[:1]),
        last_loss=last_loss(losses),
        best_bits_per_byte=None if best is None else float(validation[best]),
        best_bits_per_byte_step=None if best is None else history.evaluations[best].step,
        tokens_per_second=_median(history.series("tokens_per_second")),
        peak_memory_bytes=peak_memory_bytes(history),
        seconds=_number(history.running_sum("seconds")[-1:]),
    )


def last_loss(losses: FloatArray) -> float | None:
    """The mean of those among the last five losses that are finite; None where none is."""
    last = losses[-5:]
    return _number(last[np.isfinite(last)])


def peak_memory_bytes(history: History) -> int | None:
    """The largest peak of any step, in absolute bytes."""
    peaks = history.series("memory_peak_bytes")
    return int(np.nanmax(peaks)) if np.isfinite(peaks).any() else None


def _number(values: FloatArray) -> float | None:
    return float(values.mean()) if values.size and np.isfinite(values).all() else None


def _median(values: FloatArray) -> float | None:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else None
