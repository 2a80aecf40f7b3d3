"""The commands of docs/distributed.md: torchrun on one machine, and on two, with what its processes end with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from revlm.runs import list_checkpoints, read_journal
from tests.faults.forks import Copies
from tests.faults.training import TRAIN, assert_undisturbed, copies_of_recipe, outcome
from tests.several import command, ends_of_ranks, free_port

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return copies_of_recipe(tmp_path_factory)


@pytest.fixture(scope="module")
def expected(copies: Copies) -> dict:
    """What two processes give that nobody disturbed."""
    undisturbed = copies.make("undisturbed")
    ended = ends_of_ranks(2, command, [(undisturbed, *TRAIN)] * 2)
    assert [each.value for each in ended] == [0, 0], ended
    return outcome(undisturbed)


def torchrun(folder: Path, *options: str, program: tuple[str, ...] = ("-m", "revlm")) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, *program, *TRAIN],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_torchrun_on_one_machine(copies: Copies, expected: dict) -> None:
    here = copies.make("one machine")
    running = torchrun(here, "--standalone", "--nproc-per-node=2")
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert said.splitlines()[-1] == "run"
    assert_undisturbed(outcome(here), expected, said)


@pytest.mark.slow
def test_two_machines_meet_by_the_rendezvous_of_torchrun(copies: Copies, expected: dict) -> None:
    """Two of them on the loopback interface, with a process each."""
    here = copies.make("two machines")
    meeting = f"--rdzv-endpoint=127.0.0.1:{free_port()}"
    machines = [
        torchrun(here, "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", meeting, "--local-addr=127.0.0.1")
        for _ in range(2)
    ]
    said = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert sum("step       6/6" in each for each in said) == 1
    assert_undisturbed(outcome(here), expected, said)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_and_torchrun_may_start_them_again(copies: Copies, expected: dict) -> None:
    here = copies.make("killed")
    slowly = ("-m", "tests.slurm.slowly")
    running = torchrun(here, "--standalone", "--nproc-per-node=2", "--max-restarts=1", program=slowly)
    while not list_checkpoints(here / "run"):
        assert running.poll() is None
        time.sleep(0.1)
    workers = subprocess.run(
        ["ps", "--ppid", str(running.pid), "-o", "pid="], capture_output=True, text=True, check=True
    )
    os.kill(max(int(pid) for pid in workers.stdout.split()), signal.SIGKILL)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert "has ended or does not respond" in said
    assert " from step " in said
    steps = [record["step"] for record in read_journal(here / "run" / "metrics.jsonl") if record["event"] == "step"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert_undisturbed(outcome(here), expected, said)
