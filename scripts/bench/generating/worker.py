"""One measurement in a separate process: `python -m bench.generating.worker TASK RESULT`, both JSON files.

The model prefills a text of each context length, each with its own cache. Then it samples and decodes tokens one at a
time, in stretches interleaved between the contexts, so that other load on the machine affects all of them equally.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench.generating.systems import SYSTEMS, Continuing
from bench.shape import Shape, random_example
from bench.worker import write_result
from revlm.errors import ResourceError
from revlm.runs import MemoryMeter

WARM_UP_TOKENS = 20
_TEMPERATURE = 0.8


@dataclass(frozen=True)
class Task:
    """The task of one process; the tokens of `shape` are the maximal length."""

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
    """Returns, for each context, the seconds and resident bytes of its prefill, and the seconds per token after it."""
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    meter = MemoryMeter()
    if not meter.peaks_by_phase:
        raise ResourceError("the peak of resident memory cannot be reset here: measure on Linux")
    begin = SYSTEMS[task.system].build(task.shape, task.precision, task.layers, task.seed)
    inputs, _ = random_example(task.shape, task.seed)
    texts = [_Text(begin, inputs[:context], meter, task.seed) for context in task.contexts]
    for text in texts:
        text.write(WARM_UP_TOKENS)
    for text in texts * task.stretches:
        text.stretches.append(text.write(task.tokens))
    return {"threads": torch.get_num_threads(), "contexts": [text.measured() for text in texts]}


class _Text:
    """A text that a model has prefilled and continues."""

    def __init__(self, begin: Callable[[], Continuing], inputs: Tensor, meter: MemoryMeter, seed: int) -> None:
        self.stretches: list[float] = []
        self._generator = torch.Generator().manual_seed(seed)
        before, start = meter.current_bytes(), time.perf_counter()
        meter.start_step()
        with meter.phase("prefill"):
            self._model = begin()
            self._logits = self._model.extend(inputs)
        peak = meter.peaks()["memory_prefill_peak_bytes"]
        assert peak is not None
        self._prefilled = {
            "context": len(inputs),
            "prefill_seconds": time.perf_counter() - start,
            "prefill_bytes": peak - before,
            "cache_bytes": self._model.cache_bytes,
        }

    def write(self, tokens: int) -> float:
        """Samples and decodes tokens; returns the seconds per token."""
        start = time.perf_counter()
        for _ in range(tokens):
            self._logits = self._model.step(_draw(self._logits, self._generator))
        return (time.perf_counter() - start) / tokens

    def measured(self) -> dict[str, Any]:
        """Returns the seconds and additional bytes of the prefill, and the seconds per token."""
        if not bool(self._logits.isfinite().all()):
            raise ArithmeticError("the logits are not finite")
        return self._prefilled | {"token_seconds": median(self.stretches), "stretch_token_seconds": self.stretches}


def _draw(logits: Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial((logits.double() / _TEMPERATURE).softmax(-1), 1, generator=generator))


if __name__ == "__main__":
    write_result(lambda values: measure(Task.from_json(values)), *sys.argv[1:])
