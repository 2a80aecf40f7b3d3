"""A clock that was set back by a day has no effect on a run that resumes."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.recipe import load_recipe
from revlm.training import train
from tests.faults.training import assert_undisturbed, outcome, write_recipe

DAY_SECONDS = 86_400


def test_a_clock_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of the run is then newer than now, the older ones the more; the checkpoint's step counts."""
    outcomes = []
    for name, is_set_back in (("undisturbed", False), ("set back", True)):
        folder = write_recipe(tmp_path / name)
        monkeypatch.chdir(folder)
        recipe = load_recipe("recipe.yaml")
        records = train(recipe)
        while next(records)["step"] != 5:
            pass
        records.close()
        with monkeypatch.context() as patched:
            if is_set_back:
                set_back(folder / "run", patched.setattr)
            shown = list(train(recipe))
        assert [record["step"] for record in shown if record["event"] == "step"] == [5, 6]
        assert all(record["seconds"] > 0 for record in shown)
        outcomes.append(outcome(folder))
    assert_undisturbed(outcomes[1], outcomes[0], "set back")


def set_back(run: Path, patch: Callable[[object, str, object], None]) -> None:
    now, now_ns = time.time, time.time_ns
    for age, path in enumerate(sorted(run.rglob("*"))):
        os.utime(path, (now() + DAY_SECONDS - age, now() + DAY_SECONDS - age))
    patch(time, "time", lambda: now() - DAY_SECONDS)
    patch(time, "time_ns", lambda: now_ns() - DAY_SECONDS * 10**9)
