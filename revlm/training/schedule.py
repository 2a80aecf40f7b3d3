"""The learning rate, a pure function of the step: linear warm-up, then half a cosine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from revlm.recipe import Recipe

_JUMP = 0.1  # share of the old rate from which on a change is reported


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step of a run.

    Attributes:
        peak: the highest one.
        warmup_steps: steps until it is reached; with 0 the first step has it.
        min_ratio: the share of it that the cosine falls to.
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
        """Returns the schedule that the settings of a checkpoint tell; None where they do not."""
        keys = ("optimizer.lr", "lr_scheduler.warmup_steps", "lr_scheduler.min_lr_ratio", "train.max_steps")
        return cls(*(settings[key] for key in keys)) if all(key in settings for key in keys) else None

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of a step, from 1.

        The cosine starts at the peak and reaches its least value one step after the last one: with a ratio of 0 every
        step has an effect, and a run of one step has the peak.
        """
        if step <= self.warmup_steps:
            return self.peak * step / self.warmup_steps
        peak_step = max(self.warmup_steps, 1)
        progress = (step - peak_step) / max(self.max_steps + 1 - peak_step, 1)
        cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return self.peak * (self.min_ratio + (1 - self.min_ratio) * cosine)


def jump_notice(before: Schedule, after: Schedule, done_steps: int) -> str | None:
    """Returns a sentence where a run that resumes with another schedule changes its learning rate at once."""
    old, new = before.learning_rate(max(done_steps, 1)), after.learning_rate(done_steps + 1)
    if before == after or abs(new - old) <= _JUMP * old:
        return None
    return (
        f"the learning rate jumps from {old:.2e} at step {done_steps} to {new:.2e} at step {done_steps + 1}, because "
        "its schedule was changed: the loss may rise at first"
    )
