from typing import Any

import pytest

from bench.gpu.flops import model_flops
from bench.gpu.schedule import Cell, measurements
from bench.gpu.summary import Row, table
from bench.shape import Shape

SYSTEMS = ("revlm", "exact")


def statuses(results: dict[Cell, dict[str, Any]], seconds: float, lengths: tuple[int, ...]) -> dict[Cell, str]:
    def measure(cell: Cell, left: float) -> dict[str, Any]:
        assert 0 < left <= seconds
        return results[cell]

    return {cell: result["status"] for cell, result in measurements(SYSTEMS, lengths, seconds, measure)}


def test_time_that_grows_with_the_square_is_seen_coming() -> None:
    done = {"status": "done", "seconds": 10.0}
    results = {Cell(system, tokens): done for system in SYSTEMS for tokens in (1000, 4000)}
    found = statuses(results, 150.0, (1000, 4000))
    assert found == {
        Cell("revlm", 1000): "done",
        Cell("exact", 1000): "done",
        Cell("revlm", 4000): "done",
        Cell("exact", 4000): "left_out",
    }


def test_what_failed_short_is_not_tried_long() -> None:
    results = {Cell(system, 1000): {"status": "out_of_memory", "cause": "no room"} for system in SYSTEMS}
    found = statuses(results, 1000.0, (1000, 4000))
    assert set(found.values()) == {"out_of_memory", "left_out"}


def test_without_time_nothing_is_begun() -> None:
    assert set(statuses({}, 10.0, (1000,)).values()) == {"left_out"}


def test_operations_are_those_of_weights_and_of_exact_pairs() -> None:
    shape = Shape(100, layers=2, d_model=8, heads=1, d_ff=32, vocabulary=10)
    weights = 2 * (4 * 64 + 2 * 8 * 32) + 80
    assert model_flops(shape, "revlm") == 6 * 100 * weights
    pairs = 2 * sum(range(1, 101))
    assert model_flops(shape, "exact") - model_flops(shape, "revlm") == 3 * 4 * 8 * pairs


def test_the_table_names_what_was_left_out() -> None:
    done = Row(Cell("revlm", 1000), "done", None, 0.5, 2 * 10**9, 3 * 10**9, 0.25)
    left = Row(Cell("exact", 1000), "left_out", "about 99 s, and 7 s are left", None, None, None, None)
    head, first, second, cause = table([done, left]).splitlines()
    assert head.split()[0] == "system"
    assert first.split() == ["revlm", "1,000", "2,000", "0.500", "2.00", "GB", "3.00", "GB", "25.0%"]
    assert "left out" in second
    assert cause.endswith("1,000 tokens: about 99 s, and 7 s are left")
    assert done.to_json()["tokens_per_second"] == pytest.approx(2000)
