from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from revlm.launch import Launch
from revlm.training.ranks.gpus import agreed_gpu, gpu_of, leave_failures_to_waiting

FIRST, SECOND = torch.device("cuda", 0), torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("gpus", "launch", "expected"),
    [
        (2, Launch(rank=3, world_size=4, local_rank=1, local_world_size=2), SECOND),
        (8, Launch(rank=1, world_size=2, local_rank=1, local_world_size=2), SECOND),
        (1, Launch(rank=1, world_size=2, local_rank=1, local_world_size=2, bound=True), FIRST),
        (1, Launch(rank=0, world_size=2, local_rank=0, local_world_size=2), None),  # rank 1 has none
        (0, Launch(rank=0, world_size=2, local_rank=0, local_world_size=2), None),
    ],
)
def test_each_rank_has_a_gpu_of_its_own_or_none_has(gpus: int, launch: Launch, expected: torch.device | None) -> None:
    assert gpu_of(launch, lambda: gpus) == expected


@pytest.mark.parametrize(("second", "agreed"), [(SECOND, [FIRST, SECOND]), (None, [None, None])])
def test_nccl_is_told_the_gpus_only_where_every_rank_has_one(
    second: torch.device | None, agreed: list[torch.device | None]
) -> None:
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=30))
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda rank: agreed_gpu([FIRST, second][rank], store, rank, 2), range(2))
        assert list(found) == agreed


@pytest.mark.parametrize(("given", "handling"), [({}, "0"), ({"TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}, "1")])
def test_nccl_leaves_failures_to_the_waiting_ranks_unless_told_otherwise(given: dict[str, str], handling: str) -> None:
    environment = dict(given)
    leave_failures_to_waiting(environment)
    assert environment == {"TORCH_NCCL_ASYNC_ERROR_HANDLING": handling}
