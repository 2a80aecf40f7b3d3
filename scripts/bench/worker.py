"""One measurement in a separate process: `python -m bench.worker TASK RESULT`, both JSON files.

After a warm-up step of one layer at a small length, the model is built, the peak of resident memory is reset, and one
example is run forward and backward.
"""

import gc
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.shape import Shape, random_example
from bench.step import apply_gradients, forward_backward, make_optimizer
from bench.systems import SYSTEMS, Loss
from revlm.errors import ResourceError
from revlm.ops.heap import return_freed_memory
from revlm.runs import MemoryMeter

WARM_UP_TOKENS = 1024


@dataclass(frozen=True)
class Task:
    """The task of one process; `full_step` includes gradient clipping and AdamW."""

    system: str
    precision: str
    shape: Shape
    seed: int
    full_step: bool = False
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the task as plain values."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Task":
        """Returns the task that `to_json` wrote."""
        return Task(**{**values, "shape": Shape(**values["shape"])})


def measure(task: Task) -> dict[str, Any]:
    """Returns the wall-clock and CPU seconds, and the resident bytes, of one example through a new model."""
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    build = SYSTEMS[task.system].load()
    meter = MemoryMeter()
    if not meter.peaks_by_phase:
        raise ResourceError("the peak of resident memory cannot be reset here: measure on Linux")
    torch.manual_seed(task.seed)
    _Step(task, *build(replace(task.shape, tokens=WARM_UP_TOKENS, layers=1)), MemoryMeter()).run(WARM_UP_TOKENS)
    gc.collect()
    return_freed_memory()

    model, loss = build(task.shape)
    built_bytes = meter.current_bytes()
    meter.start_step()
    step = _Step(task, model, loss, meter)
    nats = step.run(task.shape.tokens)
    peaks = meter.peaks()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return {
        **step.measured,
        "loss": nats,
        "gradients_are_finite": all(bool(gradient.isfinite().all()) for gradient in gradients),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "weight_bytes": _bytes_of(parameters),
        "gradient_bytes": _bytes_of(gradients),
        "optimizer_bytes": step.optimizer_bytes,
        "built_bytes": built_bytes,
        **{key: value for key, value in peaks.items() if value is not None},
        "threads": torch.get_num_threads(),
    }


@dataclass
class _Step:
    """One training step, timed by phase."""

    task: Task
    model: nn.Module
    loss: Loss
    meter: MemoryMeter
    measured: dict[str, float] = field(default_factory=dict)
    optimizer_bytes: int = 0

    def run(self, tokens: int) -> float:
        """Runs the step; returns the loss in nats per token."""
        inputs, targets = random_example(replace(self.task.shape, tokens=tokens), self.task.seed)
        task = self.task
        nats = float(forward_backward(task.system, self.loss, inputs, targets, task.precision, self._phase))
        if not math.isfinite(nats):
            raise ArithmeticError(f"the loss is {nats}")
        if self.task.full_step:
            self._update()
        return nats

    def _update(self) -> None:
        optimizer = make_optimizer(self.model)
        with self._phase("optimizer"):
            apply_gradients(self.model, optimizer)
        tensors = (value for state in optimizer.state.values() for value in state.values())
        self.optimizer_bytes = _bytes_of([value for value in tensors if isinstance(value, Tensor)])

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        with self.meter.phase(name):
            start, processor = time.perf_counter(), time.process_time()
            yield
            self.measured[f"{name}_seconds"] = time.perf_counter() - start
            self.measured[f"{name}_processor_seconds"] = time.process_time() - processor


def _bytes_of(tensors: list[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def write_result(work: Callable[[dict[str, Any]], dict[str, Any]], task_file: str, result_file: str) -> None:
    """Writes the result of `work` on a task, with `status` "done", "out_of_memory" or "failed" and a cause."""
    task = json.loads(Path(task_file).read_text())
    try:
        result = {"status": "done", **work(task)}
    except Exception as error:
        status = "out_of_memory" if _is_out_of_memory(error) else "failed"
        result = {"status": status, "cause": f"{type(error).__name__}: {error}"}
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    write_result(lambda values: measure(Task.from_json(values)), *sys.argv[1:])
