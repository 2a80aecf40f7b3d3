"""The floating-point operations of a model, and the rate of the GPU."""

import time

import torch

from bench.shape import Shape

_PRODUCT_SIZE = {"cuda": 8192, "cpu": 1024}


def model_flops(shape: Shape, system: str) -> int:
    """Returns the FLOPs of one example, forward and backward; recomputation to save memory counts once.

    They are the products of tokens with weights, and the pairs of exact attention. The pairs of hash attention are left
    out, since their number depends on the buckets, so revlm's utilization is a lower bound.
    """
    width, tokens = shape.d_model, shape.tokens
    weights = shape.layers * (4 * width**2 + 2 * width * shape.d_ff) + width * shape.vocabulary
    pairs = shape.layers * tokens * (tokens + 1) // 2 if system == "exact" else 0
    return 3 * (2 * tokens * weights + 2 * 2 * width * pairs)


def product_flops_per_second(device: torch.device) -> float:
    """Returns the rate of a large product of bfloat16 matrices, the base of utilization."""
    size = _PRODUCT_SIZE[device.type]
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        a @ b
        wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def wait(device: torch.device) -> None:
    """Waits for all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
