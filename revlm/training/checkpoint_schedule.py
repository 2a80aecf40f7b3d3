"""When a run is saved, and how many checkpoints its disk must hold."""

import time
from collections.abc import Collection

from revlm.recipe import Recipe
from revlm.runs import is_kept_for_ever


class CheckpointSchedule:
    """Says when a checkpoint is due: by steps, by minutes on a clock that nobody sets, and at the end."""

    def __init__(self, recipe: Recipe, step: int, saved_step: int | None) -> None:
        """Begins at `step`; `saved_step` is that of the run's checkpoint, None where it has none."""
        self.saved_step = saved_step
        self._options, self._first_step, self._last_step = recipe.checkpoint, step, recipe.train.max_steps
        self._saved_seconds = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint of this step should be saved now."""
        if step == self.saved_step or step == 0:
            return False
        minutes = self._options.every_minutes
        late = minutes > 0 and time.monotonic() - self._saved_seconds >= 60 * minutes
        return late or self._is_due_by_step(step)

    def done(self, step: int) -> None:
        """Notes that the checkpoint of this step stands."""
        self.saved_step = step
        self._saved_seconds = time.monotonic()

    def checkpoints_to_come(self, steps_saved: Collection[int]) -> int:
        """How many checkpoints the disk must hold, at one time, beside those of `steps_saved`."""
        if self._first_step >= self._last_step:
            return 0
        kept = self._multiples_to_come(self._options.keep_every)
        saves = 1 + kept + self._multiples_to_come(1 if self._options.every_minutes else self._options.every)
        passing = sum(not is_kept_for_ever(step, self._options.keep_every) for step in steps_saved)
        beside = self._options.keep_last + 1 - passing  # the oldest goes once the newest stands
        return min(saves, kept + max(beside, 1))

    def _multiples_to_come(self, every: int) -> int:
        return self._last_step // every - self._first_step // every if every else 0

    def _is_due_by_step(self, step: int) -> bool:
        every = self._options.every
        due = every > 0 and step % every == 0
        return due or is_kept_for_ever(step, self._options.keep_every) or step == self._last_step
