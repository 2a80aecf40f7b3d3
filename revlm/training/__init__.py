"""Training: the loop, what a step does, the optimizer and its schedule, signals."""

from revlm.training.loop import train

__all__ = ["train"]
