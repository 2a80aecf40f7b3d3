import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trackio", reason="the extra `trackio` is not installed")

from trackio import utils
from trackio.sqlite_storage import SQLiteStorage

from revlm.runs.trackers.trackio import PROJECT, Trackio


@pytest.fixture
def run(run_with, tmp_path, monkeypatch):
    """A run whose database is a new one; trackio reads where it lies when it is imported.

    There is a token, for which `trackio.init` would ask the hub for a name.
    """
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    for module in (utils, sys.modules[SQLiteStorage.__module__]):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")

    def refuse(*_):
        raise AssertionError("trackio reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return run_with(Trackio)


def rows(run) -> list[dict]:
    return SQLiteStorage.get_logs(**json.loads(run.folder.trackio.read_bytes()))


def steps(run, name: str) -> list[int]:
    return [row["step"] for row in rows(run) if name in row]


def test_numbers_texts_and_the_recipe_come_back(run):
    run.go_on(0, 4)
    assert [(row["step"], row["train/loss"]) for row in rows(run) if "train/loss" in row] == [
        (step, 8 / step) for step in (1, 2, 3, 4)
    ]
    assert [row["bucket_fill/layer_03"] for row in rows(run) if "train/loss" in row] == [0.75] * 4
    assert [row["evaluate/loss"] for row in rows(run) if "evaluate/loss" in row] == [4.5, 2.25]
    samples = [row["samples/1"] for row in rows(run) if "samples/1" in row]
    assert samples[0] == {"_type": "trackio.markdown", "_value": "    It was step *2*\n    indeed"}
    [record] = SQLiteStorage.get_run_records(PROJECT)
    assert record["name"] == "run"
    assert SQLiteStorage.get_run_config(PROJECT, "run")["data"]["seq_len"] == 65536
    assert run.messages == []


@pytest.mark.parametrize("checkpoint", range(6))
def test_a_killed_run_goes_on_in_the_same_run_without_doubled_steps(run, checkpoint):
    run.go_on(0, 5)
    times = {row["step"]: row["timestamp"] for row in rows(run) if "train/loss" in row}
    run.go_on(checkpoint, 7, loss=0.5)
    shown = {row["step"]: row["train/loss"] for row in rows(run) if "train/loss" in row}
    assert shown == {step: 8 / step if step <= checkpoint else 0.5 for step in range(1, 8)}
    assert steps(run, "train/loss") == [1, 2, 3, 4, 5, 6, 7]
    assert steps(run, "evaluate/loss") == steps(run, "samples/2") == [2, 4, 6]
    kept = {row["step"]: row["timestamp"] for row in rows(run) if "train/loss" in row}
    assert all(kept[step] == times[step] for step in range(1, checkpoint))
    assert len(SQLiteStorage.get_run_records(PROJECT)) == 1
    assert SQLiteStorage.get_run_config(PROJECT, "run")["data"]["seq_len"] == 65536
    assert run.messages == []


def test_a_run_that_is_lost_from_the_database_is_written_again(run):
    run.go_on(0, 4)
    SQLiteStorage.delete_run(**json.loads(run.folder.trackio.read_bytes()))
    run.go_on(4, 5)
    assert steps(run, "train/loss") == [1, 2, 3, 4, 5]


def test_a_database_that_refuses_is_said_once(run, monkeypatch):
    run.go_on(0, 2)
    with monkeypatch.context() as patched:
        patched.setattr(SQLiteStorage, "bulk_log", lambda **_: (_ for _ in ()).throw(OSError("database is locked")))
        run.go_on(2, 6)
    assert len(run.messages) == 1
    assert "database is locked" in run.messages[0]
    run.go_on(6, 7)
    assert steps(run, "train/loss") == [1, 2, 3, 4, 5, 6, 7]


def test_the_database_lies_where_trackio_looks_for_it(tmp_path: Path):
    code = (
        "from revlm.recipe import Recipe\n"
        "from revlm.runs import RunFolder\n"
        "from revlm.runs.trackers.trackio import Trackio\n"
        "recipe = Recipe.model_validate({'output_dir': 'run', 'data': {'path': 'tokens'}})\n"
        "Trackio(RunFolder.create('run'), recipe, 0).write([{'event': 'step', 'step': 1, 'loss': 2.0}])\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "here"), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert (tmp_path / "here" / f"{PROJECT}.db").is_file()
