"""What `bench_generate.py` is made of: models that continue a text with their own caches, one process a measurement."""
