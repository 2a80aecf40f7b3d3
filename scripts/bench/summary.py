"""Measurements as rows: one per system, precision, length and depth, with medians and ratios to revlm."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, NamedTuple

from bench.worker import Task

BASE = "revlm"


class Cell(NamedTuple):
    """The key of a row of the table."""

    system: str
    precision: str
    tokens: int
    layers: int

    @staticmethod
    def of(task: Task) -> "Cell":
        """Returns the row that a task's measurement belongs to."""
        return Cell(task.system, task.precision, task.shape.tokens, task.shape.layers)


class Measurement(NamedTuple):
    """A task and the result of its process."""

    task: Task
    result: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Returns both as plain values."""
        return {**self.task.to_json(), **self.result}


@dataclass(frozen=True)
class Row:
    """Medians over the repetitions, in seconds and resident bytes; where one did not finish, None and the reason `why`.

    `beyond_baseline_bytes` is beyond the process after its imports; `working_bytes` is beyond the built model,
    gradients and optimizer state. Ratios are how many times as fast as this row, and how many times as small in peak,
    revlm is: in its faster precision, and in the precision of this row.
    """

    cell: Cell
    repetitions: int
    status: str = "done"
    why: str | None = None
    forward_seconds: float | None = None
    backward_seconds: float | None = None
    optimizer_seconds: float | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    beyond_baseline_bytes: int | None = None
    working_bytes: int | None = None
    speed_ratio: float | None = None
    same_precision_speed_ratio: float | None = None
    memory_ratio: float | None = None
    same_precision_memory_ratio: float | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """The example's tokens divided by the seconds of its step."""
        return self.cell.tokens / self.seconds if self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        figures = {key: value for key, value in vars(self).items() if key != "cell"}
        return {**self.cell._asdict(), **figures, "tokens_per_second": self.tokens_per_second}


def seconds_of(result: dict[str, Any]) -> float:
    """Returns the seconds of one step: forward, backward and, where measured, the optimizer."""
    return sum(result.get(f"{phase}_seconds", 0.0) for phase in ("forward", "backward", "optimizer"))


def working_bytes_of(result: dict[str, Any]) -> int:
    """Returns the peak beyond the gradients, the optimizer's state and the built model, including its buffers."""
    kept = result["built_bytes"] + result["gradient_bytes"] + result["optimizer_bytes"]
    return int(result["memory_peak_bytes"] - kept)


def rows(measurements: Iterable[Measurement]) -> list[Row]:
    """Returns the rows in the order of their first measurement."""
    by_cell: dict[Cell, list[dict[str, Any]]] = {}
    for measurement in measurements:
        by_cell.setdefault(Cell.of(measurement.task), []).append(measurement.result)
    without_ratios = [_row(cell, results) for cell, results in by_cell.items()]
    return [_with_ratios(row, without_ratios) for row in without_ratios]


def faster_precision(all_rows: Sequence[Row], system: str, tokens: int, layers: int) -> Row | None:
    """Returns the row of the precision in which a system is faster; None where it was not measured."""
    measured = [row for row in all_rows if row.cell._replace(precision="") == Cell(system, "", tokens, layers)]
    return max((row for row in measured if row.why is None), key=lambda row: row.tokens_per_second or 0.0, default=None)


def _row(cell: Cell, results: list[dict[str, Any]]) -> Row:
    done = [result for result in results if result["status"] == "done"]
    undone = [result for result in results if result["status"] != "done"]
    if undone or not done:
        return Row(cell, len(done), status=undone[0]["status"], why=undone[0]["cause"])

    def middle(value: Callable[[dict[str, Any]], float]) -> float:
        return median(value(result) for result in done)

    has_optimizer = "optimizer_seconds" in done[0]
    return Row(
        cell,
        len(done),
        forward_seconds=middle(lambda each: each["forward_seconds"]),
        backward_seconds=middle(lambda each: each["backward_seconds"]),
        optimizer_seconds=middle(lambda each: each["optimizer_seconds"]) if has_optimizer else None,
        seconds=middle(seconds_of),
        peak_bytes=round(middle(lambda each: each["memory_peak_bytes"])),
        beyond_baseline_bytes=round(middle(lambda each: each["memory_peak_bytes"] - each["memory_baseline_bytes"])),
        working_bytes=round(middle(working_bytes_of)),
    )


def _with_ratios(row: Row, all_rows: Sequence[Row]) -> Row:
    _, precision, tokens, layers = row.cell
    best = faster_precision(all_rows, BASE, tokens, layers)
    same = next((each for each in all_rows if each.cell == Cell(BASE, precision, tokens, layers)), None)
    return replace(
        row,
        speed_ratio=_ratio(row.seconds, best.seconds if best else None),
        same_precision_speed_ratio=_ratio(row.seconds, same.seconds if same else None),
        memory_ratio=_ratio(row.peak_bytes, best.peak_bytes if best else None),
        same_precision_memory_ratio=_ratio(row.peak_bytes, same.peak_bytes if same else None),
    )


def _ratio(this: float | None, of_revlm: float | None) -> float | None:
    return this / of_revlm if this and of_revlm else None
