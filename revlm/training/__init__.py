"""Training: the loop, the step, the optimizer and its schedule, validation, and runs on several ranks."""

from revlm.training.loop import train

__all__ = ["train"]
