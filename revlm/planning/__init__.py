"""The memory of a training step by category and phase, before anything runs."""
