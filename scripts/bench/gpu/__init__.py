"""What `bench_gpu.py` is made of; besides PyTorch with Triton and NumPy it needs what revlm's model imports."""
