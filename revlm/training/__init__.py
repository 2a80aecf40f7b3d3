"""Training: the loop, the optimizer and its schedule."""

from revlm.training.loop import train

__all__ = ["train"]
