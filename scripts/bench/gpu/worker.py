"""The works of a part, each in a separate process: a step, the launches of a step, its operations one by one."""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from bench.gpu.flops import model_flops, wait
from bench.host_reads import HostReads
from bench.parts import parts_of
from bench.rates import timed
from bench.shape import Shape, random_example
from bench.step import apply_gradients, forward_backward, make_optimizer
from bench.systems import SYSTEMS, Loss, reversible
from revlm.model.precision import autocast

Result = dict[str, Any]

_WARM_UP_TOKENS = 4096
_MAX_STEPS = 3
_ENOUGH_SECONDS = 20.0
_REPEATS = 5
_MAX_KERNELS = 25
# The calls of CUDA's runtime and driver, by the beginning of their names.
_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaMemset", "cudaMemcpy")
_WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


class _Steps:
    """A system's model with its optimizer, whose kernels are compiled and whose moments exist."""

    def __init__(self, system: str, shape: Shape, device: torch.device) -> None:
        torch.manual_seed(0)
        self.system, self.shape, self.device = system, shape, device
        self.model, self._loss = _built(system, shape, device)
        self._optimizer = make_optimizer(self.model)
        # Compiled attention is compiled for a length.
        self.run(shape.tokens if system == "flex" else min(_WARM_UP_TOKENS, shape.tokens))

    def run(self, tokens: int) -> tuple[float, float]:
        """Runs a step; returns its seconds and the loss in nats per token."""
        inputs, targets = (x.to(self.device) for x in random_example(replace(self.shape, tokens=tokens), 0))
        wait(self.device)
        start = time.perf_counter()
        nats = forward_backward(self.system, self._loss, inputs, targets, "bf16")
        apply_gradients(self.model, self._optimizer)
        self._optimizer.zero_grad(set_to_none=True)
        wait(self.device)
        return time.perf_counter() - start, float(nats)


def step(system: str, shape: Shape, device: torch.device) -> Result:
    """Returns the median seconds of a step in bf16, and the peaks of memory.

    A step is forward, backward (with the check that reversible layers restored the streams), clipping and AdamW.
    """
    steps = _Steps(system, shape, device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    seconds: list[float] = []
    nats = float("nan")
    while not seconds or (len(seconds) < _MAX_STEPS and sum(seconds) < _ENOUGH_SECONDS):
        taken, nats = steps.run(shape.tokens)
        seconds.append(taken)
    return {
        "seconds": median(seconds),
        "steps": len(seconds),
        "loss": nats,
        "parameters": sum(parameter.numel() for parameter in steps.model.parameters()),
        "model_flops": model_flops(shape, system, steps.model),
        **_memory(device),
    }


def launches(system: str, shape: Shape, device: torch.device) -> Result:
    """Returns what a step launches, how often the host waits for the device, and the kernels that take the longest."""
    steps, reads = _Steps(system, shape, device), HostReads()
    with reads:
        steps.run(shape.tokens)
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device.type == "cuda")]) as profiled:
        steps.run(shape.tokens)
    events = profiled.key_averages()
    kernels = sorted(
        (event for event in events if event.device_type == torch.autograd.DeviceType.CUDA),
        key=lambda event: -event.self_device_time_total,
    )
    return {
        "launches": sum(event.count for event in events if event.key.startswith(_LAUNCHES)),
        "waits": sum(event.count for event in events if event.key.startswith(_WAITS)),
        "host_reads": dict(reads.by_operation),
        "kernels": [
            {"name": event.key[:100], "calls": event.count, "seconds": event.self_device_time_total / 1e6}
            for event in kernels[:_MAX_KERNELS]
        ],
        "kernel_seconds": sum(event.self_device_time_total for event in kernels) / 1e6,
    }


def operations(system: str, shape: Shape, device: torch.device) -> Result:
    """Returns the seconds of each operation of a step in bf16, over the whole example."""
    found = []
    with torch.device(device):
        for part in parts_of(shape, "bf16"):
            with autocast("bf16", device):
                seconds = median(timed(part.prepare(), _REPEATS, lambda: wait(device)))
            found.append({"name": part.name, "calls": part.calls, "seconds": seconds, "flops": part.flops})
    return {"operations": found}


WORKS: dict[str, Callable[[str, Shape, torch.device], Result]] = {
    "step": step,
    "launches": launches,
    "operations": operations,
}


def _built(system: str, shape: Shape, device: torch.device) -> tuple[nn.Module, Loss]:
    if SYSTEMS[system].module != "reversible":
        model, loss = SYSTEMS[system].load()(shape)
        return model.to(device), loss
    revlm, loss = reversible.build(shape, device_kind=device.type, **SYSTEMS[system].options)
    return revlm.to(device), loss


def _memory(device: torch.device) -> dict[str, int | None]:
    if device.type != "cuda":
        return {"peak_allocated_bytes": None, "peak_reserved_bytes": None}
    return {
        "peak_allocated_bytes": torch.cuda.max_memory_allocated(device),
        "peak_reserved_bytes": torch.cuda.max_memory_reserved(device),
    }
