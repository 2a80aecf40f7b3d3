"""The parts of `bench_gpu.py`; they need PyTorch with Triton, NumPy, and the imports of revlm's model."""
