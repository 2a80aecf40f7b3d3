import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytest.importorskip("wandb", reason="the extra `wandb` is not installed")

import wandb

from revlm.errors import UsageError
from revlm.runs import require_trackers
from revlm.runs.trackers.table import WANDB_SETTINGS
from revlm.runs.trackers.wandb import Wandb

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
from pathlib import Path
from revlm.runs.trackers.wandb import Wandb
from tests.runs.trackers.conftest import Run

Run(Path(sys.argv[1]), Wandb).go_on(0, 5)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def run(run_with, tmp_path, monkeypatch):
    """A run without a server; wandb's own folders are new ones."""
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    for name in ("MODE", "API_KEY", "PROJECT", "DIR"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield run_with(Wandb)
    with suppress(ConnectionError):
        wandb.teardown()


def records(run, kind: str) -> list[dict]:
    """What wandb itself reads from its file."""
    [file] = run.folder.wandb.glob("*run-*/*.wandb")
    shown = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [record[kind] for record in map(json.loads, shown.stdout.splitlines()) if record["type"] == kind]


def test_numbers_texts_and_the_recipe_come_back_also_after_a_kill(run):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, run.folder], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert killed.returncode == -9
    [earlier] = run.folder.wandb.glob("*run-*")
    run.go_on(3, 6, loss=0.5)
    wandb.teardown()
    found = [row["item"] for row in records(run, "history")]
    assert [row["_step"] for row in found] == [1, 2, 3, 4, 5, 6]
    assert [row["train/loss"] for row in found] == [8.0, 4.0, pytest.approx(8 / 3), 0.5, 0.5, 0.5]
    assert [row["bucket_fill/layer_03"] for row in found] == [0.75] * 6
    assert [row.get("evaluate/loss") for row in found] == [None, 4.5, None, 2.25, None, 1.5]
    assert found[1]["samples/1"] == "It was step *2*\nindeed"
    assert "train/grad_norm" not in found[0]
    [about] = records(run, "run")
    assert (about["project"], about["display_name"]) == ("revlm", "run")
    assert about["run_id"] == json.loads(run.folder.wandb_run.read_bytes())["id"]
    assert not earlier.exists()
    assert run.messages == []


def test_a_service_that_dies_is_reported_once(run):
    run.go_on(0, 2)
    for child in psutil.Process().children(recursive=True):
        if "wandb-core" in child.name():
            child.kill()
            child.wait()
    run.go_on(2, 4)
    [message] = run.messages
    assert message.startswith("wandb failed")


def test_a_server_that_cannot_be_used_is_reported_once_without_a_question(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    run.go_on(0, 2)
    [message] = run.messages
    assert "No API key" in message


@pytest.mark.parametrize(
    "damage", ['{"id": "x", "folder": "../.."}', "[]", '{"id": "' + "0" * 32 + '", "folder": ".."}']
)
def test_a_hostile_run_folder_removes_nothing(run, damage):
    run.folder.wandb_run.write_text(damage)
    run.go_on(0, 1)
    [message] = run.messages
    assert message.startswith("wandb failed (ValidationError")
    assert run.folder.metrics.exists()


def test_a_link_in_place_of_its_folder_is_not_followed(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    run.folder.wandb.symlink_to(tmp_path / "elsewhere")
    run.go_on(0, 1)
    assert "symbolic link" in run.messages[0]
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("path", WANDB_SETTINGS)
def test_settings_of_the_current_folder_are_refused(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    path.parent.mkdir()
    path.write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    with pytest.raises(UsageError, match="settings"):
        require_trackers(["wandb"])
