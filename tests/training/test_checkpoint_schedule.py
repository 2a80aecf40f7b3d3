import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.recipe import Recipe
from revlm.runs import list_checkpoints
from revlm.storage import staging_name
from revlm.training import train
from revlm.training.checkpoint_schedule import CheckpointSchedule
from tests.tiny_run import tiny_recipe, write_tokens


def saving(
    step: int = 0, saved_step: int | None = None, max_steps: int = 100, **checkpoint: float
) -> CheckpointSchedule:
    values = {"output_dir": "run", "data": {"path": "tokens"}, "train": {"max_steps": max_steps}}
    return CheckpointSchedule(Recipe.model_validate(values | {"checkpoint": checkpoint}), step, saved_step)


def test_a_checkpoint_is_due_by_steps_for_ever_and_at_the_end() -> None:
    plan = saving(every=30, keep_every=40)
    due = []
    for step in range(101):
        if plan.is_due(step):
            due.append(step)
            plan.mark_saved(step)
        assert not plan.is_due(step)
    assert due == [30, 40, 60, 80, 90, 100]


def test_a_checkpoint_is_due_by_minutes_on_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "time", lambda: -now)
    plan = saving(every=0, every_minutes=1.5)
    assert not plan.is_due(1)
    now += 89
    assert not plan.is_due(2)
    now += 1
    assert plan.is_due(3)
    plan.mark_saved(3)
    assert not plan.is_due(4)
    now += 90
    assert plan.is_due(5)


@given(
    every=st.integers(0, 9),
    keep_every=st.integers(0, 9),
    keep_last=st.integers(1, 4),
    max_steps=st.integers(1, 40),
    first=st.integers(0, 20),
)
def test_the_disk_is_asked_for_what_will_lie_there_at_one_time(
    every: int, keep_every: int, keep_last: int, max_steps: int, first: int
) -> None:
    """Never for less, and for no more than where steps that are saved in two ways count twice."""
    options = {"every": every, "keep_every": keep_every, "keep_last": keep_last}
    whole, present, most = saving(max_steps=max_steps, **options), list[int](), 0
    for step in range(1, max_steps + 1):
        if step == first + 1:
            before = list(present)
            plan = saving(step=first, max_steps=max_steps, **options)
            most = 0
        if whole.is_due(step):
            whole.mark_saved(step)
            present.append(step)
            most = max(most, len(present))
            kept = {*present[-keep_last:], *(each for each in present if keep_every and each % keep_every == 0)}
            present = sorted(kept)
    if first < max_steps:
        asked = plan.checkpoints_ahead(before)
        assert most - len(before) <= asked <= most - len(before) + 2 + max_steps // max(keep_every, 1)
    else:
        assert saving(step=first, max_steps=max_steps, **options).checkpoints_ahead([]) == 0


def test_minutes_and_steps_that_are_kept_for_ever_in_a_run(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    settings = ("train.max_steps=7", "checkpoint.every=0", "checkpoint.every_minutes=1e-9", "checkpoint.keep_every=3")
    list(train(tiny_recipe(tmp_path / "run", *settings, "checkpoint.keep_last=2")))
    assert [int(path.name[-2:]) for path in list_checkpoints(tmp_path / "run")] == [3, 6, 7]


def test_a_finished_run_ends_what_a_kill_had_left(tmp_path: Path) -> None:
    """Between the last save and its pruning, and in the midst of the replacement of a file."""
    write_tokens(tmp_path / "tokens")
    run, settings = tmp_path / "run", ("checkpoint.every=1", "checkpoint.keep_last=1")
    list(train(tiny_recipe(run, *settings)))
    before = sorted(run.rglob("*"))
    shutil.copytree(run / "checkpoints" / "step-00000003", run / "checkpoints" / "step-00000002")
    (run / "checkpoints" / staging_name("step-00000003")).mkdir()
    for folder in (run, run / "samples"):
        (folder / staging_name("recipe.yaml")).touch()
    assert list(train(tiny_recipe(run, *settings))) == []
    assert sorted(run.rglob("*")) == before
