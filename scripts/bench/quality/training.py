"""One model trained within a budget: the same schedule of the learning rate, the same clock, the same score for all."""

import math
import time
from dataclasses import dataclass
from typing import Any, Protocol

# Shares of the budget: a linear warm-up, then a cosine down to this share of the learning rate.
_WARM_UP, _LEAST = 0.05, 0.02
_FIRST = 0.002


class Learner(Protocol):
    """A model that is trained and scored.

    Attributes:
        parameters: the number of its weights.
    """

    parameters: int

    def update(self, learning_rate: float) -> int:
        """Updates the weights once, and returns the UTF-8 bytes of the targets that it learned from."""

    def held_out_nats(self) -> float:
        """Returns the sum of the cross-entropies of the held-out text in nats."""


@dataclass(frozen=True)
class Budget:
    """Seconds of processor time, or bytes of text, for one model; the other is None."""

    seconds: float | None = None
    text_bytes: float | None = None

    def spent(self, seconds: float, text_bytes: int) -> float:
        """Returns the share of the budget that is spent."""
        return max(seconds / (self.seconds or math.inf), text_bytes / (self.text_bytes or math.inf))


def learning_rate_factor(spent: float) -> float:
    """Returns what the learning rate is multiplied by once this share of the budget is spent."""
    if spent < _WARM_UP:
        return max(spent, _FIRST) / _WARM_UP
    falling = (spent - _WARM_UP) / (1 - _WARM_UP)
    return _LEAST + (1 - _LEAST) * (1 + math.cos(math.pi * falling)) / 2


def trained_within(learner: Learner, budget: Budget, learning_rate: float, held_out_bytes: int) -> dict[str, Any]:
    """Trains until the budget is spent; returns bits per byte, and what was spent. The score is not in the budget.

    Raises:
        ArithmeticError: the score is not finite.
    """
    start, seconds, text_bytes, updates = time.process_time(), 0.0, 0, 0
    while (spent := budget.spent(seconds, text_bytes)) < 1:
        text_bytes += learner.update(learning_rate * learning_rate_factor(spent))
        seconds = time.process_time() - start
        updates += 1
    nats = learner.held_out_nats()
    if not math.isfinite(nats):
        raise ArithmeticError(f"the loss on the held-out text is {nats}")
    return {
        "bits_per_byte": nats / math.log(2) / held_out_bytes,
        "processor_seconds": seconds,
        "scoring_seconds": time.process_time() - start - seconds,
        "updates": updates,
        "text_bytes": text_bytes,
        "parameters": learner.parameters,
    }
