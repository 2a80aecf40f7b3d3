"""The terminal interface that the commands of `revlm.cli` share: streams, signals, prompts, progress and tables."""
