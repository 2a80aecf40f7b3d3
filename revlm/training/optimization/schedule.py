"""The learning rate as a pure function of the step: linear warm-up, then the shape `lr_scheduler.name`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from revlm.recipe import Recipe

_JUMP = 0.1  # a change by more than this share of the old rate is reported


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step of a run.

    Attributes:
        name: the shape after the warm-up, a key of `SHAPES`.
        peak: the highest learning rate.
        warmup_steps: steps until the peak; with 0, the first step has it.
        decay_steps: steps over which wsd decays, at the end of the run.
        min_ratio: the share of the peak that the learning rate decays to.
        max_steps: steps of the whole run.
    """

    name: str
    peak: float
    warmup_steps: int
    decay_steps: int
    min_ratio: float
    max_steps: int

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Returns the schedule of a recipe."""
        scheduler = recipe.lr_scheduler
        return cls(
            scheduler.name,
            recipe.optimizer.lr,
            scheduler.warmup_steps,
            scheduler.decay_steps,
            scheduler.min_lr_ratio,
            recipe.train.max_steps,
        )

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Self | None:
        """Returns the schedule in the settings of a checkpoint; None if they have none."""
        keys = ("name", "warmup_steps", "decay_steps", "min_lr_ratio")
        named = [f"lr_scheduler.{key}" for key in keys]
        names = [named[0], "optimizer.lr", *named[1:], "train.max_steps"]
        return cls(*(settings[name] for name in names)) if all(name in settings for name in names) else None

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of a step; steps count from 1.

        A decay starts at the peak and reaches its minimum one step after the last step. So with a ratio of 0 every
        step still has an effect, and a run of one step trains at the peak.
        """
        if step <= self.warmup_steps:
            return self.peak * step / self.warmup_steps
        return self.peak * (self.min_ratio + (1 - self.min_ratio) * SHAPES[self.name](self, step))

    def progress_since(self, start: int, step: int) -> float:
        """Returns the share of the steps from `start` to the end that are done at `step`, 0 to 1."""
        return min(max(step - start, 0) / max(self.max_steps + 1 - start, 1), 1.0)


def _cosine(schedule: Schedule, step: int) -> float:
    """Half a cosine from the peak to the end (Loshchilov and Hutter, arXiv 1608.03983)."""
    return (1 + math.cos(math.pi * schedule.progress_since(max(schedule.warmup_steps, 1), step))) / 2


def _wsd(schedule: Schedule, step: int) -> float:
    """Warm-up, stable, decay: the peak, then a line (Hu et al., arXiv 2404.06395; Haegele et al., arXiv 2405.18392)."""
    peak_step = max(schedule.warmup_steps, 1)
    return 1 - schedule.progress_since(max(schedule.max_steps - schedule.decay_steps, peak_step), step)


def _constant(schedule: Schedule, step: int) -> float:
    """The peak to the end."""
    return 1.0


SHAPES: dict[str, Callable[[Schedule, int], float]] = {"cosine": _cosine, "wsd": _wsd, "constant": _constant}
"""The shape after the warm-up by `lr_scheduler.name`: 0 is the minimum and 1 the peak."""


def jump_notice(before: Schedule, after: Schedule, done_steps: int) -> str | None:
    """Returns a sentence if the learning rate changes abruptly when a run resumes with another schedule.

    The change is abrupt if the new rate is far both from the last rate and from the next rate of the old schedule.
    """
    old, planned, new = (
        before.learning_rate(max(done_steps, 1)),
        before.learning_rate(done_steps + 1),
        after.learning_rate(done_steps + 1),
    )
    if min(abs(new - old), abs(new - planned)) <= _JUMP * old:
        return None
    return (
        f"the learning rate jumps from {old:.2e} at step {done_steps} to {new:.2e} at step {done_steps + 1}, because "
        "its schedule was changed: the loss may rise at first"
    )
