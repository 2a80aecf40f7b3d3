"""One measurement in a process of its own: `python -m bench.generating.worker TASK RESULT`, both files of JSON.

The model takes in a text up to each context in turn, and there draws and takes in some tokens, one at a time, in a few
stretches.
"""

import sys
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench.generating.systems import SYSTEMS
from bench.shape import Shape, random_example
from bench.worker import write_result
from revlm.errors import ResourceError
from revlm.runs import MemoryMeter

WARM_UP_TOKENS = 20
_TEMPERATURE = 0.8


@dataclass(frozen=True)
class Task:
    """What one process measures; the tokens of `shape` are those that there is room for."""

    system: str
    precision: str
    layers: tuple[str, ...]
    shape: Shape
    contexts: tuple[int, ...]
    tokens: int
    stretches: int
    seed: int
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the task as plain values."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Task":
        """Returns the task that `to_json` wrote."""
        lists = {name: tuple(values[name]) for name in ("layers", "contexts")}
        return Task(**{**values, **lists, "shape": Shape(**values["shape"])})


def measure(task: Task) -> dict[str, Any]:
    """Returns, of each context, seconds and resident bytes of taking it in, and the seconds of a token after it."""
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    meter = MemoryMeter()
    if not meter.peaks_by_phase:
        raise ResourceError("the peak of resident memory cannot be set back here: measure on Linux")
    model = SYSTEMS[task.system].build(task.shape, task.precision, task.layers, task.seed)
    inputs, _ = random_example(task.shape, task.seed)
    built_bytes = meter.current_bytes()
    generator = torch.Generator().manual_seed(task.seed)
    taken, prefill_seconds, of_contexts = 0, 0.0, []
    for context in task.contexts:
        meter.start_step()
        start = time.perf_counter()
        with meter.phase("prefill"):
            logits = model.extend(inputs[taken:context])
        prefill_seconds += time.perf_counter() - start
        cache_bytes = model.cache_bytes
        taken, stretches = context, []
        for count in (WARM_UP_TOKENS, *[task.tokens] * task.stretches):
            start = time.perf_counter()
            for _ in range(count):
                logits = model.step(_draw(logits, generator))
            stretches.append((time.perf_counter() - start) / count)
            taken += count
        of_contexts.append(
            {
                "context": context,
                "prefill_seconds": prefill_seconds,
                "prefill_peak_bytes": meter.peaks()["memory_prefill_peak_bytes"],
                "cache_bytes": cache_bytes,
                "token_seconds": median(stretches[1:]),
                "stretch_token_seconds": stretches[1:],
            }
        )
    if not bool(logits.isfinite().all()):
        raise ArithmeticError("the logits are not finite")
    return {"built_bytes": built_bytes, "threads": torch.get_num_threads(), "contexts": of_contexts}


def _draw(logits: Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial((logits.double() / _TEMPERATURE).softmax(-1), 1, generator=generator))


if __name__ == "__main__":
    write_result(lambda values: measure(Task.from_json(values)), *sys.argv[1:])
