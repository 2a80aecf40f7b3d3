"""What a user sees and types: streams, signals, progress and tables; commands of `revlm.cli` call these."""
