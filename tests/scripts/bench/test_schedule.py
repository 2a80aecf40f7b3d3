"""Systems take turns; what went beyond a limit is not tried at a larger size, and said."""

from typing import Any

import pytest

from bench import schedule
from bench.schedule import Suite, measurements
from bench.summary import Measurement
from bench.worker import Task

Result = dict[str, Any]
DONE = {"status": "done", "forward_seconds": 1.0, "backward_seconds": 2.0}


def suite(**changes: Any) -> Suite:
    values: dict[str, Any] = {
        "systems": ("revlm", "exact"),
        "precisions": ("fp32",),
        "lengths": (512, 256),
        "layers": (6,),
        "depth_tokens": 256,
        "repeats": 1,
        "once_beyond_seconds": 10.0,
        "seconds_limit": 60.0,
        "memory_limit_bytes": 2**30,
        "seed": 0,
        "full_step": False,
        "threads": None,
    }
    return Suite(**{**values, **changes})


class Measuring:
    """Stands in for the processes: what each task ends with, by system and length."""

    def __init__(self, endings: dict[tuple[str, int], Result] | None = None) -> None:
        self.endings = endings or {}
        self.ran: list[tuple[str, int, int]] = []

    def __call__(self, task: Task, *, seconds_limit: float, memory_limit_bytes: int) -> Result:
        self.ran.append((task.system, task.shape.tokens, task.shape.layers))
        return self.endings.get((task.system, task.shape.tokens), DONE)


def measure(monkeypatch: pytest.MonkeyPatch, measuring: Measuring, suite: Suite) -> list[Measurement]:
    monkeypatch.setattr(schedule, "measure_alone", measuring)
    return [event for event in measurements(suite) if isinstance(event, Measurement)]


def test_short_lengths_come_first_and_turns_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring()
    measure(monkeypatch, measuring, suite(repeats=2))
    once = [("revlm", 256, 6), ("exact", 256, 6), ("revlm", 512, 6), ("exact", 512, 6)]
    again = [("exact", 256, 6), ("revlm", 256, 6), ("exact", 512, 6), ("revlm", 512, 6)]
    assert measuring.ran == once + again


@pytest.mark.parametrize("status", ["out_of_time", "out_of_memory"])
def test_beyond_a_limit_a_larger_size_is_not_tried(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    measuring = Measuring({("exact", 256): {"status": status, "cause": "too much"}})
    found = measure(monkeypatch, measuring, suite(repeats=2))
    assert [ran for ran in measuring.ran if ran[0] == "exact"] == [("exact", 256, 6)]
    [refused] = [each for each in found if each.result["status"] == "not_tried"]
    assert refused.task.shape.tokens == 512
    assert refused.result["cause"] == "not tried: with 256 tokens and 6 layers too much"
    assert len([ran for ran in measuring.ran if ran[0] == "revlm"]) == 4


def test_a_failure_says_nothing_about_larger_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring({("exact", 256): {"status": "failed", "cause": "a defect"}})
    measure(monkeypatch, measuring, suite())
    assert ("exact", 512, 6) in measuring.ran


def test_a_long_measurement_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring({("exact", 512): {**DONE, "backward_seconds": 10.0}})
    measure(monkeypatch, measuring, suite(repeats=3))
    assert measuring.ran.count(("exact", 512, 6)) == 1
    assert measuring.ran.count(("exact", 256, 6)) == 3


@pytest.mark.parametrize(("depth_tokens", "depths"), [(256, (12, 24)), (1024, (6, 12, 24))])
def test_only_revlm_is_measured_at_each_depth(
    monkeypatch: pytest.MonkeyPatch, depth_tokens: int, depths: tuple[int, ...]
) -> None:
    measuring = Measuring()
    measure(monkeypatch, measuring, suite(layers=(6, 24, 12), depth_tokens=depth_tokens))
    assert measuring.ran[4:] == [("revlm", depth_tokens, layers) for layers in depths]


def test_a_peer_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = schedule.SYSTEMS["exact"]._replace(requires="nowhere_to_be_found")
    monkeypatch.setitem(schedule.SYSTEMS, "exact", missing)
    measuring = Measuring()
    found = measure(monkeypatch, measuring, suite())
    causes = {each.result.get("cause") for each in found if each.task.system == "exact"}
    assert causes == {"nowhere_to_be_found is not installed"}
    assert {system for system, _, _ in measuring.ran} == {"revlm"}
