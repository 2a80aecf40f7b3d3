"""The ranks of a sequence group as threads of one process: the same code as that of processes, at no cost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from torch import Tensor

from revlm.model.sequence import ParallelSequenceGroup, SequenceGroup

T = TypeVar("T")


class RankThreads:
    """Exchanges tensors between threads as `torch.distributed.all_to_all_single` does between processes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._given: list[list[Tensor]] = [[]] * size
        self._barrier = Barrier(size, timeout=60)

    def run(self, work: Callable[[SequenceGroup], T]) -> list[T]:
        """What the work gives on each rank."""
        with ThreadPoolExecutor(self.size) as threads:
            return list(threads.map(lambda rank: self._guarded(work, rank), range(self.size)))

    def _guarded(self, work: Callable[[SequenceGroup], T], rank: int) -> T:
        def all_to_all(out: Tensor, given: Tensor, taken_rows: list[int], given_rows: list[int]) -> None:
            assert out.is_contiguous()
            assert given.is_contiguous()
            assert out.dtype == given.dtype
            self._given[rank] = list(given.split(given_rows))
            self._barrier.wait()
            for taken, of_rank in zip(out.split(taken_rows), self._given, strict=True):
                assert taken.shape == of_rank[rank].shape
                taken.copy_(of_rank[rank])
            self._barrier.wait()

        try:
            return work(ParallelSequenceGroup(rank, self.size, all_to_all))
        except BaseException:
            self._barrier.abort()
            raise
