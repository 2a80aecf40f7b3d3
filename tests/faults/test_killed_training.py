"""`revlm train`, killed (SIGKILL) at any moment and run again, ends with the bytes of an undisturbed run."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from revlm.runs import list_checkpoints, verify_checkpoint
from tests.faults import forks
from tests.faults.forks import Copies
from tests.faults.training import TRAIN, assert_undisturbed, outcome, write_recipe, write_streaming_recipe


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 113])
def test_a_kill_at_any_point_of_the_writing(tmp_path: Path, step: int) -> None:
    """From before the first byte to after the last prune; what looks like a checkpoint after the kill is one."""
    copies = Copies(write_recipe(tmp_path / "before"), tmp_path / "copies")
    runs = forks.killed_at_points(copies, step, *TRAIN)
    expected = outcome(next(runs)[0])
    assert [name.split("/")[1] for name in expected["files"] if name.endswith("manifest.json")] == [
        "step-00000004", "step-00000006"
    ]  # fmt: skip
    for copy, said in runs:
        assert "unexpected" not in said
        for path in list_checkpoints(copy / "run"):
            assert verify_checkpoint(path) in ([], ["manifest.json is missing"])
        again = forks.run(copy, *TRAIN)
        assert again.code == 0, (copy, again.stderr)
        assert_undisturbed(outcome(copy), expected, copy)


@pytest.mark.parametrize("step", [pytest.param(31, marks=pytest.mark.slow), 163])
@pytest.mark.parametrize("packing", ["whole", "fixed"])
def test_a_kill_in_the_midst_of_a_stream(tmp_path: Path, packing: str, step: int) -> None:
    """The texts that were read, and the tokens of the one in work, are passed over by what goes on."""
    copies = Copies(write_streaming_recipe(tmp_path / "before", packing), tmp_path / "copies")
    runs = forks.killed_at_points(copies, step, *TRAIN)
    expected = outcome(next(runs)[0])
    assert {record["epoch"] for record in expected["records"] if record["event"] == "step"} > {1, 2}
    assert "tokenizer.json" in expected["files"]
    for copy, _ in runs:
        again = forks.run(copy, *TRAIN)
        assert again.code == 0, (copy, again.stderr)
        assert_undisturbed(outcome(copy), expected, copy)


def test_a_kill_of_a_real_process_that_trains_on_a_stream(tmp_path: Path) -> None:
    copies = Copies(write_streaming_recipe(tmp_path / "before", "whole"), tmp_path / "copies")
    whole, killed = copies.make("undisturbed"), copies.make("killed")
    assert forks.run(whole, *TRAIN).code == 0
    running = start(killed)
    journal = killed / "run" / "metrics.jsonl"
    while running.poll() is None and not (journal.exists() and journal.read_text().count("\n") > 2):
        time.sleep(0.001)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert forks.run(killed, *TRAIN).code == 0
    assert_undisturbed(outcome(killed), outcome(whole), killed)


def test_kills_one_after_the_other(tmp_path: Path) -> None:
    """A run that never lives long comes to its end all the same, as long as each start reaches one more checkpoint."""
    copies = Copies(write_recipe(tmp_path / "before"), tmp_path / "copies")
    whole, killed = copies.make("undisturbed"), copies.make("killed")
    points = forks.run(whole, *TRAIN, count_points=True).points
    assert points
    for _ in range(2):
        assert forks.run(killed, *TRAIN, kill_at=points // 3).code == -signal.SIGKILL
    assert forks.run(killed, *TRAIN).code == 0
    assert_undisturbed(outcome(killed), outcome(whole), "killed")


def test_a_kill_at_a_random_time(tmp_path: Path) -> None:
    copies = Copies(write_recipe(tmp_path / "before"), tmp_path / "copies")
    whole = copies.make("undisturbed")
    seconds = forks.run(whole, *TRAIN).seconds
    assert seconds
    for number, share in enumerate((0.5, 0.8)):
        copy = copies.make(str(number))
        forks.run(copy, *TRAIN, kill_after_seconds=share * seconds)
        assert forks.run(copy, *TRAIN).code == 0
        assert_undisturbed(outcome(copy), outcome(whole), copy)


@pytest.mark.slow
def test_a_kill_at_50_random_times_of_a_real_process(tmp_path: Path) -> None:
    copies = Copies(write_recipe(tmp_path / "before"), tmp_path / "copies")
    whole = copies.make("undisturbed")
    began = time.monotonic()
    running = start(whole)
    while not (whole / "run").exists():
        time.sleep(0.01)
    first_seconds = time.monotonic() - began
    assert running.wait() == 0
    seconds = time.monotonic() - began
    chance = random.Random(5)
    for number in range(50):
        copy = copies.make(str(number))
        running = start(copy)
        time.sleep(chance.uniform(first_seconds, seconds))
        running.kill()
        running.wait()
        assert start(copy).wait() == 0
        assert_undisturbed(outcome(copy), outcome(whole), copy)


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "revlm", *TRAIN]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
