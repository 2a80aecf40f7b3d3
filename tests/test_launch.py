"""The place of a process among those of its run, as torchrun and srun tell it."""

import os

import pytest

from revlm.errors import UsageError
from revlm.launch import Launch, first_host, launch_of, tasks_by_node, usable_cores

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "9",
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "17", "SLURM_STEP_ID": "2", "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_STEP_NODELIST": "node[007,009]",
}  # fmt: skip


def test_a_process_that_nobody_started_with_others_is_alone() -> None:
    assert launch_of({}) == Launch()
    assert launch_of({"RANK": "1"}) == Launch()  # some other program's word


def test_torchrun_comes_before_srun_which_may_have_started_it() -> None:
    expected = Launch(rank=3, world_size=4, local_rank=1, local_world_size=2, address="env://")
    assert launch_of(TORCHRUN) == launch_of(SRUN | TORCHRUN) == expected
    assert not expected.is_rank0


def test_starts_are_counted_on_one_machine_alone() -> None:
    again = TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "2"}
    assert launch_of(again).attempt == ""
    assert launch_of(again | {"LOCAL_WORLD_SIZE": "4"}).attempt == "2"


def test_srun_tells_all_but_where_to_meet() -> None:
    found = launch_of(SRUN)
    assert (found.rank, found.world_size, found.local_rank, found.local_world_size) == (3, 4, 1, 2)
    assert found.address == "tcp://node007:20274"
    assert launch_of(SRUN | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "9"}).address == "tcp://10.0.0.1:9"


def test_processes_of_one_machine_meet_on_it_and_steps_of_jobs_apart_from_each_other() -> None:
    one = SRUN | {"SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "no-such-name"}
    assert launch_of(one).address == "tcp://127.0.0.1:20274"
    others = [one | {"SLURM_STEP_ID": "3"}, one | {"SLURM_JOB_ID": "18"}]
    assert len({launch_of(each).address for each in [one, *others]}) == 3


def test_a_batch_script_of_many_tasks_is_not_one_of_them() -> None:
    assert launch_of({"SLURM_JOB_ID": "17", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}) == Launch()


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
def test_what_is_missing_or_no_number_is_named(environment: dict[str, str]) -> None:
    without = dict(list(environment.items())[:-1])
    with pytest.raises(UsageError, match=list(environment)[-1]):
        launch_of(without)
    with pytest.raises(UsageError, match="many"):
        launch_of(environment | {"WORLD_SIZE": "many", "SLURM_STEP_NUM_TASKS": "many"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a", "a"), ("a,b", "a"), ("node[003-007,9],b", "node003"), ("n[1]-x,b", "n1-x"), ("r1[2,4]", "r12")],
)
def test_the_first_machine_of_a_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_the_tasks_of_each_machine() -> None:
    assert tasks_by_node("2(x3),1,4(x2)") == [2, 2, 2, 1, 4, 4]


def test_the_usable_cores_are_known_where_the_system_does_not_tell_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable_cores() == os.cpu_count()
