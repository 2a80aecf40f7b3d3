"""The search chooses settings, the comparison takes turns, and what is done is not done again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import scripts.bench_quality as script
from bench.quality import schedule
from bench.quality.rivals import RIVALS
from bench.quality.schedule import Measured, Plan, Run, comparisons, measurements, searches
from bench.quality.summary import picture, rows, table
from bench.quality.worker import Task

PLAN = Plan(
    rivals=("lsh", "plain-256"),
    seeds=(1, 2),
    seconds=100.0,
    tokens=None,
    search_share=0.1,
    held_out_tokens=500_000,
    recipe="novels",
    store="store",
)
DONE = {
    "status": "done",
    "processor_seconds": 1.0,
    "parameters": 10,
    "trained_tokens": 5,
    "updates": 3,
    "process_seconds": 2.0,
}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """The tasks that were trained; the bits of each are its seed and its learning rate."""
    tasks: list[Task] = []

    def measure_alone(task: Task, **limits: Any) -> dict[str, Any]:
        tasks.append(task)
        assert limits["seconds_limit"] > 20 * (task.seconds or 0)
        return {**DONE, "bits_per_byte": task.seed + task.settings["learning_rate"]}

    monkeypatch.setattr(schedule, "measure_alone", measure_alone)
    monkeypatch.setattr(schedule, "write_texts", lambda folder, corpus, tokens: None)
    monkeypatch.setattr(schedule, "open_corpus", lambda data, seed: None)
    return tasks


def run_all(runs: Sequence[Run], done: Sequence[Measured] = ()) -> list[Measured]:
    return list(measurements(PLAN, runs, done, lambda run, left: None))


def test_settings_are_searched_with_the_first_seed_and_a_share_of_the_budget(trained: list[Task]) -> None:
    found = run_all(searches(PLAN))
    assert [each["settings"] for each in found] == list(RIVALS["plain-256"].searched)
    assert {(task.rival, task.seed, task.seconds, task.tokens) for task in trained} == {("plain-256", 1, 10.0, None)}
    assert all(task.held_out_tokens < PLAN.held_out_tokens for task in trained)
    compared = comparisons(PLAN, found)
    assert [(run.rival, run.seed) for run in compared] == [
        ("lsh", 1),
        ("plain-256", 1),
        ("lsh", 2),
        ("plain-256", 2),
    ]
    least = min(each["learning_rate"] for each in RIVALS["plain-256"].searched)
    assert compared[1].settings["learning_rate"] == compared[3].settings["learning_rate"] == least


def test_what_is_done_is_not_done_again_unless_it_failed_or_differs(trained: list[Task]) -> None:
    done = run_all(comparisons(PLAN, []))
    trained.clear()
    assert run_all(comparisons(PLAN, []), done) == done
    assert trained == []
    done[1] = {**done[1], "status": "failed", "cause": "no memory"}
    done[2] = {**done[2], "seconds": 50.0}
    run_all(comparisons(PLAN, []), done)
    assert [(task.rival, task.seed) for task in trained] == [("plain-256", 1), ("lsh", 2)]


def test_a_rival_that_is_not_installed_is_named_and_left_out(
    trained: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.quality.rivals.find_spec", lambda name: None)
    [found] = run_all([Run("comparison", "mblm", 1, {"learning_rate": 1.0})])
    assert (found["status"], found["cause"]) == ("not_tried", "mblm is not installed")
    assert trained == []
    assert rows([found]) == []


def test_rows_have_means_deviations_and_differences_over_the_seeds_of_both(trained: list[Task]) -> None:
    found = rows(run_all(comparisons(PLAN, [])))
    lsh, other = found
    assert lsh.mean == pytest.approx(1.5 + 1.2e-2)
    assert lsh.deviation == pytest.approx(0.5**0.5)
    assert other.bits_per_byte == {1: pytest.approx(1.006), 2: pytest.approx(2.006)}
    shown = table(found)
    assert [list(column.cells)[1] for column in shown.columns][1:4] == ["1.506", "0.707", "-0.006"]
    assert picture(found, "100 processor seconds").startswith(b"\x89PNG")
    assert json.loads(json.dumps(lsh.to_json()))["mean"] == lsh.mean


def test_the_script_goes_on_where_it_was_interrupted(
    trained: list[Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def go(**changes: Any) -> dict[str, Any]:
        values: dict[str, Any] = {
            "rivals": "lsh,local",
            "seeds": "1,2",
            "seconds": 5.0,
            "tokens": None,
            "search_share": 0.2,
            "held_out_tokens": 1000,
            "recipe": "novels",
            "as_json": True,
            "output": tmp_path,
        }
        script.main(tmp_path, **{**values, **changes})
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    assert [row["rival"] for row in go(seeds="1")["rows"]] == ["lsh", "local"]
    assert len(trained) == 2
    assert len(go()["measurements"]) == 4
    assert len(trained) == 4
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads((tmp_path / "quality.json").read_text())["measurements"]) == 4
    go(seconds=None, tokens=300)
    assert {task.tokens for task in trained[4:]} == {300}
    assert (tmp_path / "quality-tokens.json").exists()
    (tmp_path / "quality.json").write_text("{}")
    with pytest.raises(script.StorageError, match="not a file of results"):
        go()
    with pytest.raises(script.UsageError, match="two budgets"):
        go(tokens=300)
