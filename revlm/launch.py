"""Which process of how many this one is, as `torchrun` or `srun` tell those that they start, and its share of cores.

Torch is not loaded.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from revlm.errors import UsageError

_OF_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_OF_SRUN = (
    "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NODEID",
    "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST",
)  # fmt: skip
_FIRST_PORT, _PORTS = 20_000, 10_000  # below those that Linux gives away by itself


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of its run.

    Attributes:
        rank: its number, from 0; the first one writes.
        count: how many there are.
        local_rank, local_count: the same among those of this machine.
        address: where they meet, as `torch.distributed` takes it.
        attempt: how often torchrun has started all of them again, on one machine; else empty.
        bound: whether its launcher may have given it a GPU of its own, the only one that it sees.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    address: str = ""
    attempt: str = ""
    bound: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, and speaks for all."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """The process in a sentence."""
        return f"rank {self.rank}"


ALONE = Launch()


def launch_of(environment: Mapping[str, str]) -> Launch:
    """Returns the place that an environment tells: torchrun's before srun's, a process by itself where it has neither.

    Raises:
        UsageError: it tells a place and not where the processes meet, or no numbers.
    """
    try:
        if {"RANK", "WORLD_SIZE"} <= environment.keys():
            return _of_torchrun(environment)
        # A batch script that no srun has started has the number of its job's tasks, not that of a step's.
        if {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"} <= environment.keys():
            return _of_srun(environment)
    except KeyError as missing:
        raise UsageError(
            f"the environment tells which process of a run this is and not {missing.args[0]}: start all with torchrun "
            "or srun, or unset RANK and WORLD_SIZE for one process"
        ) from None
    except ValueError as error:
        raise UsageError(
            f"the environment tells no place among the processes of a run ({error}): start all with torchrun or srun"
        ) from None
    return ALONE


def first_host(node_list: str) -> str:
    """Returns the first machine of one of Slurm's lists, such as node003 of `node[003-007,9],other`."""
    match = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\])?([^\[,]*)", node_list)
    assert match is not None
    return match[1] + (match[2] or "") + match[3]


def tasks_by_node(counts: str) -> list[int]:
    """Returns the tasks of each machine of one of Slurm's lists, such as 2, 2, 1 of `2(x2),1`."""
    by_node: list[int] = []
    for part in counts.split(","):
        tasks, _, times = part.partition("(x")
        by_node += [int(tasks)] * int(times.rstrip(")") or 1)
    return by_node


def _of_torchrun(environment: Mapping[str, str]) -> Launch:
    values = {name: environment[name] for name in _OF_TORCHRUN}
    is_one_machine = values["LOCAL_WORLD_SIZE"] == values["WORLD_SIZE"]  # of several each counts its own starts
    return Launch(
        rank=int(values["RANK"]),
        count=int(values["WORLD_SIZE"]),
        local_rank=int(values["LOCAL_RANK"]),
        local_count=int(values["LOCAL_WORLD_SIZE"]),
        address="env://",
        attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "") if is_one_machine else "",
    )


def _of_srun(environment: Mapping[str, str]) -> Launch:
    values = {name: environment[name] for name in _OF_SRUN}
    by_node = tasks_by_node(values["SLURM_STEP_TASKS_PER_NODE"])
    host = "127.0.0.1" if len(by_node) == 1 else first_host(values["SLURM_STEP_NODELIST"])
    # Of its own for each step, so that those which share a machine do not meet each other's processes.
    port = _FIRST_PORT + (int(values["SLURM_JOB_ID"]) * 16 + int(values["SLURM_STEP_ID"])) % _PORTS
    return Launch(
        rank=int(values["SLURM_PROCID"]),
        count=int(values["SLURM_STEP_NUM_TASKS"]),
        local_rank=int(values["SLURM_LOCALID"]),
        local_count=by_node[int(values["SLURM_NODEID"])],
        address=f"tcp://{environment.get('MASTER_ADDR', host)}:{environment.get('MASTER_PORT', port)}",
        bound=True,
    )


def usable_cores() -> int:
    """Returns how many cores this process may use; all of the machine's where the system does not tell (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
