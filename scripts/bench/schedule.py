"""Decides which measurements are made, in which order, and which are not tried."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.alone import measure_alone
from bench.shape import Shape
from bench.summary import Cell, Measurement, seconds_of
from bench.systems import SYSTEMS
from bench.worker import Task

# Only these are measured against depth: the others are not designed for it, or use the same idea.
DEPTH_SYSTEMS = ("revlm", "revlm-stored")


@dataclass(frozen=True)
class Suite:
    """The comparison of all systems at each length, and of revlm at each further depth, in each precision.

    `layers[0]` is the depth of the comparison. A measurement that took longer than `once_beyond_seconds` is not
    repeated.
    """

    systems: Sequence[str]
    precisions: Sequence[str]
    lengths: Sequence[int]
    layers: Sequence[int]
    depth_tokens: int
    repeats: int
    once_beyond_seconds: float
    seconds_limit: float
    memory_limit_bytes: int
    seed: int
    full_step: bool
    threads: int | None

    def shapes(self) -> Iterator[tuple[Shape, list[str]]]:
        """Yields each shape, small ones first, with the systems to measure at it."""
        for tokens in sorted(self.lengths):
            yield Shape(tokens, layers=self.layers[0]), list(self.systems)
        of_depth = [system for system in self.systems if system in DEPTH_SYSTEMS]
        compared = self.depth_tokens in self.lengths
        for layers in sorted(self.layers[1:] if compared else self.layers) if len(self.layers) > 1 else ():
            yield Shape(self.depth_tokens, layers=layers), of_depth

    def rounds(self) -> Iterator[list[Task]]:
        """Yields the tasks of each repetition: the systems alternate, in reverse order every other time."""
        for repeat in range(self.repeats):
            tasks = []
            for shape, systems in self.shapes():
                turns = [(system, precision) for system in systems for precision in self.precisions]
                for system, precision in turns if repeat % 2 == 0 else reversed(turns):
                    tasks.append(Task(system, precision, shape, self.seed, self.full_step, self.threads))
            yield tasks


def measurements(suite: Suite) -> Iterator[Task | Measurement]:
    """Yields each task when it starts, and its measurement when it ends or is not tried."""
    finished: dict[Cell, dict[str, Any]] = {}
    for tasks in suite.rounds():
        for task in tasks:
            cell = Cell.of(task)
            before = finished.get(cell)
            if before is not None and not _is_repeated(before, suite):
                continue
            reason = _reason_not_to_try(task, finished)
            if reason is not None:
                result = {"status": "not_tried", "cause": reason}
            else:
                yield task
                result = measure_alone(
                    task, seconds_limit=suite.seconds_limit, memory_limit_bytes=suite.memory_limit_bytes
                )
            finished[cell] = result
            yield Measurement(task, result)


def _is_repeated(before: dict[str, Any], suite: Suite) -> bool:
    return before["status"] == "done" and seconds_of(before) <= suite.once_beyond_seconds


def _reason_not_to_try(task: Task, finished: dict[Cell, dict[str, Any]]) -> str | None:
    if not SYSTEMS[task.system].is_installed:
        return f"{SYSTEMS[task.system].requires} is not installed"
    wanted = Cell.of(task)
    for cell, result in finished.items():
        same_kind = cell[:2] == wanted[:2]
        smaller = cell != wanted and cell.tokens <= wanted.tokens and cell.layers <= wanted.layers
        if same_kind and smaller and result["status"] in ("out_of_time", "out_of_memory"):
            return f"not tried: with {cell.tokens:,} tokens and {cell.layers} layers {result['cause']}"
    return None
