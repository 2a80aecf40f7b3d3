from typing import Any

import pytest
import torch

from bench.gpu.plan import Part, Result, measurements, planned

SYSTEMS = ("revlm", "exact")
DONE: Result = {"status": "done", "seconds": 10.0}


def steps(*lengths: int) -> list[Part]:
    return [Part("step", system, tokens) for tokens in lengths for system in SYSTEMS]


def statuses(
    results: dict[Part, Result], seconds: float, parts: list[Part], known: dict[Part, Result] | None = None
) -> dict[Part, str]:
    def measure(part: Part, left: float) -> dict[str, Any]:
        assert 0 < left <= seconds
        return results[part]

    found = measurements(parts, seconds, 1000.0, measure, known or {})
    return {part: result["status"] for part, result in found}


def test_time_that_grows_with_the_square_is_seen_coming() -> None:
    parts = steps(1000, 4000)
    found = statuses(dict.fromkeys(parts, DONE), 150.0, parts)
    assert list(found.values()) == ["done", "done", "done", "left_out"]


def test_what_failed_short_is_not_tried_long() -> None:
    results: dict[Part, Result] = {part: {"status": "out_of_memory", "cause": "no room"} for part in steps(1000)}
    found = statuses(results, 1000.0, steps(1000, 4000))
    assert list(found.values()) == ["out_of_memory", "out_of_memory", "left_out", "left_out"]


def test_without_time_nothing_is_begun() -> None:
    assert set(statuses({}, 10.0, steps(1000)).values()) == {"left_out"}


def test_a_part_has_a_time_limit_of_its_own() -> None:
    limits: list[float] = []

    def measure(part: Part, seconds: float) -> Result:
        limits.append(seconds)
        return DONE

    list(measurements(steps(1000), 500.0, 60.0, measure, {}))
    assert limits == [60.0, 60.0]


@pytest.mark.parametrize(
    ("status", "is_final"), [("done", True), ("out_of_memory", True), ("failed", False), ("left_out", False)]
)
def test_what_is_known_is_not_measured_again(status: str, is_final: bool) -> None:
    [part] = parts = [Part("launches", "revlm", 1000)]
    known: dict[Part, Result] = {part: {"status": status}}
    assert statuses({part: DONE}, 1000.0, parts, known) == {part: status if is_final else "done"}


def test_only_parts_that_differ_in_length_alone_predict_each_other() -> None:
    short = {part: {"status": "failed"} for part in planned(SYSTEMS, [1000], 1000) if part.work == "launches"}
    parts = [*short, Part("step", "revlm", 4000)]
    assert statuses({**short, parts[-1]: DONE}, 1000.0, parts)[parts[-1]] == "done"


def test_the_plan_goes_from_short_to_long_and_measures_nothing_twice() -> None:
    parts = planned(SYSTEMS, [4000, 1000, 16000], 4000)
    assert len(set(parts)) == len(parts)
    assert [part.tokens for part in parts] == sorted(part.tokens for part in parts)
    assert {part.work for part in parts} == {"step", "launches", "operations"}
    assert {part.system for part in parts if part.documents > 1} == {"revlm", "flex"}


def test_an_example_shared_by_documents_has_their_tokens() -> None:
    from bench.shape import Shape

    shape = Shape(10, documents=3)
    assert shape.document_tokens == [3, 3, 4]
    assert shape.document_ids(torch.device("cpu")).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
