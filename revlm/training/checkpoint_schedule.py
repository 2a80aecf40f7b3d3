"""When a run saves a checkpoint, and how many checkpoints its disk must hold."""

import time
from collections.abc import Collection

from revlm.recipe import Recipe
from revlm.runs import is_kept_forever


class CheckpointSchedule:
    """Decides when a checkpoint is due: by steps, by minutes of the monotonic clock, and at the end."""

    def __init__(self, recipe: Recipe, step: int, saved_step: int | None) -> None:
        """Starts at `step`; `saved_step` is the step of the run's newest checkpoint, None without one."""
        self.saved_step = saved_step
        self._options, self._first_step, self._last_step = recipe.checkpoint, step, recipe.train.max_steps
        self._saved_seconds = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint of this step should be saved now."""
        if step == self.saved_step or step == 0:
            return False
        minutes = self._options.every_minutes
        overdue = minutes > 0 and time.monotonic() - self._saved_seconds >= 60 * minutes
        return overdue or self._is_due_by_step(step)

    def mark_saved(self, step: int) -> None:
        """Records that the checkpoint of this step is saved."""
        self.saved_step = step
        self._saved_seconds = time.monotonic()

    def checkpoints_ahead(self, steps_saved: Collection[int]) -> int:
        """How many more checkpoints the disk must hold at one time, besides those of `steps_saved`."""
        if self._first_step >= self._last_step:
            return 0
        kept = self._multiples_ahead(self._options.keep_every)
        saves = 1 + kept + self._multiples_ahead(1 if self._options.every_minutes else self._options.every)
        prunable = sum(not is_kept_forever(step, self._options.keep_every) for step in steps_saved)
        more = self._options.keep_last + 1 - prunable  # the oldest is pruned once the newest is saved
        return min(saves, kept + max(more, 1))

    def _multiples_ahead(self, every: int) -> int:
        return self._last_step // every - self._first_step // every if every else 0

    def _is_due_by_step(self, step: int) -> bool:
        every = self._options.every
        due = every > 0 and step % every == 0
        return due or is_kept_forever(step, self._options.keep_every) or step == self._last_step
