"""What is written in Triton for CUDA besides attention; `triton` itself is imported when a kernel is first needed."""
