"""Common parts of the Triton kernels for CUDA; `triton` itself is imported when a kernel is first needed."""
