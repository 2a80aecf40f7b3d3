"""Training: the loop, what a step does, the optimizer and its schedule, signals."""

from revlm.training.loop import train
from revlm.training.signals import StopSignals

__all__ = ["StopSignals", "train"]
