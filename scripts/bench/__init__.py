"""The parts of `bench_peers.py` and `bench_core.py`: systems, one process per measurement, tables and pictures."""
