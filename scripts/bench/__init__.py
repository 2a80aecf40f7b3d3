"""What `bench_peers.py` and `bench_core.py` are made of: systems, one process a measurement, tables and pictures."""
