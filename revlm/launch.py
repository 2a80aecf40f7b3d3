"""This process's rank and world size, as `torchrun` or `srun` set them, and the cores it may use.

Does not import torch.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from revlm.errors import UsageError

_OF_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_OF_SRUN = (
    "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NODEID",
    "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST",
)  # fmt: skip
_FIRST_PORT, _PORTS = 20_000, 10_000  # below the range that Linux assigns by itself


@dataclass(frozen=True)
class Launch:
    """How this process was launched as one rank of a run.

    Attributes:
        rank: its number, from 0; only rank 0 writes files.
        world_size: the number of ranks.
        local_rank, local_world_size: the same on this machine.
        address: the rendezvous address, an init_method of `torch.distributed`.
        attempt: how often torchrun has restarted all ranks, if they are on one machine; else empty.
        bound: whether the launcher may have bound this rank to one GPU, the only one that it sees.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    address: str = ""
    attempt: str = ""
    bound: bool = False

    @property
    def is_rank0(self) -> bool:
        """Whether this is rank 0, the only rank that writes files and prints."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """The rank as messages name it."""
        return f"rank {self.rank}"


ALONE = Launch()


def launch_of(environment: Mapping[str, str]) -> Launch:
    """Reads the launch from environment variables: torchrun's first, then srun's; without either, a single rank.

    Raises:
        UsageError: a variable is missing, or is not a number.
    """
    try:
        if {"RANK", "WORLD_SIZE"} <= environment.keys():
            return _of_torchrun(environment)
        # A batch script outside of srun has its job's variables, but not those of a step.
        if {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"} <= environment.keys():
            return _of_srun(environment)
    except KeyError as missing:
        raise UsageError(
            f"the environment gives this process a rank but no {missing.args[0]}: start all ranks with torchrun or "
            "srun, or unset RANK and WORLD_SIZE for a single process"
        ) from None
    except ValueError as error:
        raise UsageError(
            f"the environment variables for the rank of this process are invalid ({error}): start all ranks with "
            "torchrun or srun"
        ) from None
    return ALONE


def local_ranks(ranks: int) -> list[dict[str, str]]:
    """Returns the environment of each of several ranks on this machine, for processes started without torchrun."""
    if ranks == 1:
        return [dict(os.environ)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    variables = [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(ranks)]
    return [os.environ | {name: str(value) for name, value in each.items()} for each in variables]


def first_host(node_list: str) -> str:
    """Returns the first machine of a Slurm node list, such as node003 of `node[003-007,9],other`."""
    match = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\])?([^\[,]*)", node_list)
    assert match is not None
    return match[1] + (match[2] or "") + match[3]


def tasks_by_node(counts: str) -> list[int]:
    """Returns the tasks of each machine of a Slurm task list, such as 2, 2, 1 of `2(x2),1`."""
    by_node: list[int] = []
    for part in counts.split(","):
        tasks, _, times = part.partition("(x")
        by_node += [int(tasks)] * int(times.rstrip(")") or 1)
    return by_node


def _of_torchrun(environment: Mapping[str, str]) -> Launch:
    values = {name: environment[name] for name in _OF_TORCHRUN}
    is_one_machine = (
        values["LOCAL_WORLD_SIZE"] == values["WORLD_SIZE"]
    )  # on several machines, each counts its own restarts
    return Launch(
        rank=int(values["RANK"]),
        world_size=int(values["WORLD_SIZE"]),
        local_rank=int(values["LOCAL_RANK"]),
        local_world_size=int(values["LOCAL_WORLD_SIZE"]),
        address="env://",
        attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "") if is_one_machine else "",
    )


def _of_srun(environment: Mapping[str, str]) -> Launch:
    values = {name: environment[name] for name in _OF_SRUN}
    by_node = tasks_by_node(values["SLURM_STEP_TASKS_PER_NODE"])
    host = "127.0.0.1" if len(by_node) == 1 else first_host(values["SLURM_STEP_NODELIST"])
    # A port for each job step, so that steps on the same machine do not connect to each other.
    port = _FIRST_PORT + (int(values["SLURM_JOB_ID"]) * 16 + int(values["SLURM_STEP_ID"])) % _PORTS
    return Launch(
        rank=int(values["SLURM_PROCID"]),
        world_size=int(values["SLURM_STEP_NUM_TASKS"]),
        local_rank=int(values["SLURM_LOCALID"]),
        local_world_size=by_node[int(values["SLURM_NODEID"])],
        address=f"tcp://{environment.get('MASTER_ADDR', host)}:{environment.get('MASTER_PORT', port)}",
        bound=True,
    )


def usable_cores() -> int:
    """Returns how many cores this process may use; all cores where the system does not report it (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
