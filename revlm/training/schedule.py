"""The learning rate, a pure function of the step: linear warm-up, then half a cosine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from revlm.recipe import Recipe

_JUMP = 0.1  # a change by more than this share of the old rate is reported


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step of a run.

    Attributes:
        peak: the highest learning rate.
        warmup_steps: steps until the peak; with 0, the first step has it.
        min_ratio: the share of the peak that the cosine decays to.
        max_steps: steps of the whole run.
    """

    peak: float
    warmup_steps: int
    min_ratio: float
    max_steps: int

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Returns the schedule of a recipe."""
        scheduler = recipe.lr_scheduler
        return cls(recipe.optimizer.lr, scheduler.warmup_steps, scheduler.min_lr_ratio, recipe.train.max_steps)

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Self | None:
        """Returns the schedule in the settings of a checkpoint; None if they have none."""
        keys = ("optimizer.lr", "lr_scheduler.warmup_steps", "lr_scheduler.min_lr_ratio", "train.max_steps")
        return cls(*(settings[key] for key in keys)) if all(key in settings for key in keys) else None

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of a step; steps count from 1.

        The cosine starts at the peak and reaches its minimum one step after the last step. So with a ratio of 0 every
        step still has an effect, and a run of one step trains at the peak.
        """
        if step <= self.warmup_steps:
            return self.peak * step / self.warmup_steps
        peak_step = max(self.warmup_steps, 1)
        progress = (step - peak_step) / max(self.max_steps + 1 - peak_step, 1)
        cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return self.peak * (self.min_ratio + (1 - self.min_ratio) * cosine)


def jump_notice(before: Schedule, after: Schedule, done_steps: int) -> str | None:
    """Returns a sentence if a run that resumes with another schedule changes its learning rate abruptly."""
    old, new = before.learning_rate(max(done_steps, 1)), after.learning_rate(done_steps + 1)
    if before == after or abs(new - old) <= _JUMP * old:
        return None
    return (
        f"the learning rate jumps from {old:.2e} at step {done_steps} to {new:.2e} at step {done_steps + 1}, because "
        "its schedule was changed: the loss may rise at first"
    )
