"""One measurement: training steps on one example, in a separate process."""

import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import nn

from bench.gpu.flops import wait
from bench.shape import Shape, random_example
from bench.step import apply_gradients, forward_backward, make_optimizer
from bench.systems import SYSTEMS, Loss, reversible

_WARM_UP_TOKENS = 4096
_MOST_STEPS = 3
_ENOUGH_SECONDS = 20.0


def measure(system: str, shape: Shape, device: torch.device) -> dict[str, Any]:
    """Returns the median seconds of a step (forward, backward, clipping, AdamW) in bf16, and the peaks of memory."""
    torch.manual_seed(0)
    model, loss = _built(system, shape, device)
    optimizer = make_optimizer(model)

    def step(tokens: int) -> tuple[float, float]:
        inputs, targets = (x.to(device) for x in random_example(replace(shape, tokens=tokens), 0))
        wait(device)
        start = time.perf_counter()
        nats = forward_backward(system, loss, inputs, targets, "bf16")
        apply_gradients(model, optimizer)
        optimizer.zero_grad(set_to_none=True)
        wait(device)
        return time.perf_counter() - start, float(nats)

    step(min(_WARM_UP_TOKENS, shape.tokens))  # compiles kernels and creates the optimizer's state
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    seconds: list[float] = []
    nats = float("nan")
    while not seconds or (len(seconds) < _MOST_STEPS and sum(seconds) < _ENOUGH_SECONDS):
        taken, nats = step(shape.tokens)
        seconds.append(taken)
    return {
        "seconds": median(seconds),
        "steps": len(seconds),
        "loss": nats,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **_memory(device),
    }


def _built(system: str, shape: Shape, device: torch.device) -> tuple[nn.Module, Loss]:
    if SYSTEMS[system].module == "reversible":
        model, loss = reversible.build(shape, device_kind=device.type, **SYSTEMS[system].options)
    else:
        model, loss = SYSTEMS[system].load()(shape)
    return model.to(device), loss


def _memory(device: torch.device) -> dict[str, int | None]:
    if device.type != "cuda":
        return {"peak_allocated_bytes": None, "peak_reserved_bytes": None}
    return {
        "peak_allocated_bytes": torch.cuda.max_memory_allocated(device),
        "peak_reserved_bytes": torch.cuda.max_memory_reserved(device),
    }
