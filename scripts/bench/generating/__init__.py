"""The parts of `bench_generate.py`: models that continue a text with their caches, one process per measurement."""
