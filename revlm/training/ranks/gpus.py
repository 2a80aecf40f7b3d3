"""Chooses the GPU of each rank, before the ranks are connected."""

from collections.abc import Callable, MutableMapping

import torch
import torch.distributed as dist

from revlm.launch import Launch

# No handling of errors by NCCL's watchdog, which would end the process by SIGABRT where a connection broke.
_NO_HANDLING = ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")


def leave_failures_to_waiting(environment: MutableMapping[str, str]) -> None:
    """Lets a failed operation of NCCL raise where it is waited for, which finds out the rank; the user's setting wins.

    Call it before the ranks are connected. A rank that does not report is found after 45 s in any case.
    """
    environment.setdefault(*_NO_HANDLING)


def gpu_of(launch: Launch, count: Callable[[], int] = torch.cuda.device_count) -> torch.device | None:
    """Returns the GPU of a rank on its machine, one a rank; None where there are fewer GPUs than ranks."""
    gpus = count()
    if launch.bound and gpus == 1:
        return torch.device("cuda", 0)
    return torch.device("cuda", launch.local_rank) if launch.local_world_size <= gpus else None


def agreed_gpu(own: torch.device | None, store: dist.Store, rank: int, world_size: int) -> torch.device | None:
    """Returns the rank's own GPU if every rank has one, else None; waits until all ranks have reported theirs.

    If `init_process_group` is given GPUs, NCCL connects them at once, and would wait forever for a rank without one.
    """
    keys = [f"GPU of {each}" for each in range(world_size)]
    store.set(keys[rank], "" if own is None else str(own))
    return own if all(bytes(store.get(key)) for key in keys) else None
