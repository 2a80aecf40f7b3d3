"""A measurement has a process of its own, which ends at its limits and says what went wrong."""

import pytest

from bench.alone import measure_alone
from bench.shape import Shape
from bench.worker import Task

TASK = Task("revlm", "fp32", Shape(256, layers=1), seed=0)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"seconds_limit": 0.01, "memory_limit_bytes": 2**40}, "out_of_time"),
        ({"seconds_limit": 600.0, "memory_limit_bytes": 2**20}, "out_of_memory"),
    ],
)
def test_it_ends_at_its_limits(limits: dict[str, float], status: str) -> None:
    result = measure_alone(TASK, **limits)
    assert result["status"] == status


def test_an_error_of_the_system_is_told() -> None:
    odd = Task("revlm", "fp32", Shape(256, layers=1, heads=3), seed=0)
    result = measure_alone(odd, seconds_limit=600.0, memory_limit_bytes=2**40)
    assert result["status"] == "failed"
    assert "n_heads 3" in result["cause"]


def test_a_task_is_the_same_in_its_process() -> None:
    assert Task.from_json(TASK.to_json()) == TASK
