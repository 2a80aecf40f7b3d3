"""Rows are medians of repetitions; ratios say how much faster and smaller revlm is."""

from typing import Any

import pytest

from bench.shape import Shape
from bench.summary import Measurement, Row, rows
from bench.table import tables, undone
from bench.worker import Task


def measured(
    system: str,
    precision: str,
    seconds: float,
    peak_bytes: int = 1000,
    tokens: int = 1024,
    layers: int = 6,
    **changes: Any,
) -> Measurement:
    result = {
        "status": "done",
        "forward_seconds": seconds / 4,
        "backward_seconds": seconds * 3 / 4,
        "memory_peak_bytes": peak_bytes,
        "memory_baseline_bytes": 100,
        "built_bytes": 150,
        "gradient_bytes": 20,
        "optimizer_bytes": 0,
        **changes,
    }
    return Measurement(Task(system, precision, Shape(tokens, layers=layers), seed=0), result)


def row(system: str, precision: str, all_rows: list[Row]) -> Row:
    [found] = [each for each in all_rows if each.cell[:2] == (system, precision)]
    return found


def test_a_row_holds_medians() -> None:
    [only] = rows(measured("revlm", "fp32", seconds, peak) for seconds, peak in ((9.0, 700), (2.0, 900), (4.0, 500)))
    assert (only.repetitions, only.seconds, only.forward_seconds, only.backward_seconds) == (3, 4.0, 1.0, 3.0)
    assert only.tokens_per_second == 256
    assert (only.peak_bytes, only.beyond_baseline_bytes, only.working_bytes) == (700, 600, 530)


def test_ratios_are_to_the_faster_precision_and_to_the_same_one() -> None:
    every = [
        measured("revlm", "fp32", 4.0, 200),
        measured("revlm", "bf16", 2.0, 100),
        measured("transformers", "fp32", 20.0, 1200),
    ]
    peer = row("transformers", "fp32", rows(every))
    assert (peer.speed_ratio, peer.same_precision_speed_ratio) == (10, 5)
    assert (peer.memory_ratio, peer.same_precision_memory_ratio) == (12, 6)
    assert row("revlm", "bf16", rows(every)).speed_ratio == 1


def test_the_optimizer_counts_where_it_was_run() -> None:
    [only] = rows([measured("revlm", "fp32", 4.0, optimizer_seconds=2.0, optimizer_bytes=40)])
    assert only.seconds == 6
    assert only.working_bytes == 1000 - 150 - 20 - 40


@pytest.mark.parametrize("status", ["out_of_time", "out_of_memory", "failed", "not_tried"])
def test_what_did_not_end_is_said_and_has_no_figures(status: str) -> None:
    every = rows([measured("revlm", "fp32", 4.0), measured("exact", "fp32", 4.0, status=status, cause="too much")])
    exact = row("exact", "fp32", every)
    assert exact.why == "too much"
    assert exact.seconds is exact.peak_bytes is exact.speed_ratio is None
    assert undone(every) == ["exact attention, checkpointed, fp32, 1,024 tokens, 6 layers: too much"]
    [table] = tables(every)
    assert table.row_count == 2
