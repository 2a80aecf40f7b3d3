"""The floating-point operations of a model, and the rate of the GPU."""

import time

import torch
from torch import nn

from bench.shape import Shape
from revlm.model import RevLM, training_flops

_PRODUCT_SIZE = {"cuda": 8192, "cpu": 1024}


def model_flops(shape: Shape, system: str, model: nn.Module) -> int:
    """Returns the FLOPs of one example, forward and backward; recomputation to save memory does not count.

    As `revlm.model.training_flops` counts them, also for exact attention, whose queries have all earlier keys of their
    document: fused attention without a document mask has one document.
    """
    if isinstance(model, RevLM):
        return training_flops(model, shape.document_tokens)
    width, lengths = shape.d_model, shape.document_tokens if system == "flex" else [shape.tokens]
    weights = shape.layers * (4 * width**2 + 2 * width * shape.d_ff) + width * shape.vocabulary
    pairs = sum(tokens * (tokens + 1) // 2 for tokens in lengths)
    return 6 * weights * shape.tokens + 12 * width * shape.layers * pairs


def product_flops_per_second(device: torch.device) -> float:
    """Returns the rate of a large product of bfloat16 matrices."""
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
