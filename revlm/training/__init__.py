"""Training: `train` runs a recipe, or resumes its run, and yields the records of its steps.

The loop opens the corpus, completes the recipe (`resolving`) and builds the `trainer`, which holds the model, the
optimizer (`optimization`) and the position in the corpus. Each step is one of `step`; between steps come `validation`
with its `samples`, and checkpoints (`checkpoint_schedule`). All of it runs on one rank or several (`ranks`).
"""

from revlm.training.loop import train

__all__ = ["train"]
