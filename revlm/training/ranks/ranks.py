"""The ranks of a run, and their collective operations: all ranks continue only if an operation succeeds on each.

Every rank calls the same methods of `Ranks` in the same order. The class here is the single rank of an ordinary run, at
no cost; `process_group` implements several ranks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import zip_longest
from typing import ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from revlm.errors import UsageError
from revlm.launch import ALONE, Launch
from revlm.model.sequence import SINGLE, SequenceGroup
from revlm.runs import choose_device

T = TypeVar("T")


class AgreedError(Exception):
    """An exception that all ranks raise together once one of them raises it, with the same arguments, JSON values.

    If ranks raise different ones at the same time, the lowest `order` wins, then the lowest rank.
    """

    order: ClassVar[int]


class Ranks:
    """The only rank of a run.

    Attributes:
        launch: how this rank was launched.
        rank: its number, from 0.
        world_size: the number of ranks.
        sequence: the ranks that share each example (`train.sequence_parallel`), which are consecutive.
        data_rank, data_size: the number of the group that these ranks form, and how many groups there are; each group
            has its own examples.
    """

    def __init__(self, launch: Launch = ALONE) -> None:
        self.launch, self.rank, self.world_size = launch, launch.rank, launch.world_size
        self._set_sequence(SINGLE)

    def _set_sequence(self, sequence: SequenceGroup) -> None:
        self.sequence = sequence
        self.data_rank, self.data_size = self.rank // sequence.size, self.world_size // sequence.size

    @property
    def is_rank0(self) -> bool:
        """Whether this is rank 0, the only rank that writes files and prints."""
        return self.launch.is_rank0

    @property
    def is_local_rank0(self) -> bool:
        """Whether this is the first rank on its machine, which does what is done once on each machine."""
        return self.launch.local_rank == 0

    def example_indices(self, per_step: int) -> range:
        """The indices, within a step, of this rank's examples; every rank has at least one.

        Raises:
            UsageError: there are more ranks than examples in a step.
        """
        if self.data_size > per_step:
            who = "ranks" if self.sequence.size == 1 else f"groups of {self.sequence.size} ranks"
            raise UsageError(
                f"train.gradient_accumulation_steps is {per_step}, and each of the {self.data_size} {who} needs an "
                f"example in every step: set it to {self.data_size} or more (a multiple keeps every rank busy), or let "
                "more ranks share an example with train.sequence_parallel"
            )
        return range(self.data_rank, per_step, self.data_size)

    def sequence_of(self, tokens: int) -> SequenceGroup | None:
        """Returns the ranks that share an example of `tokens` tokens; None if this rank has no part of it.

        The first rank of the group alone computes an example with fewer tokens than ranks.
        """
        if tokens >= self.sequence.size:
            return self.sequence
        return SINGLE if self.sequence.rank == 0 else None

    def gather(self, value: T) -> list[T]:
        """Returns the values of all ranks, by rank; values are JSON values."""
        return [value]

    def gather_in_order(self, values: Sequence[T]) -> list[T]:
        """Returns the JSON values of all examples of a step, in order, from each rank's values of its own examples."""
        rows = zip_longest(*self.gather(list(values))[:: self.sequence.size])
        return [value for row in rows for value in row if value is not None]

    def gather_in_sequence(self, value: T) -> list[T]:
        """Returns the JSON values of the ranks that share this rank's examples, by rank."""
        return [value]

    def run_in_sequence(self, work: Callable[[], T]) -> T:
        """Runs `work` on the ranks that share this rank's examples; raises like `run_on_all`."""
        return work()

    def run_on_all(self, work: Callable[[], T]) -> T:
        """Runs `work` on every rank; returns this rank's result once all have finished.

        Raises:
            RemoteRankError: `work` failed on another rank; that rank raises its own error.
            AgreedError: `work` raised it on some rank.
        """
        return work()

    def run_on_rank0(self, work: Callable[[], object]) -> None:
        """Runs `work` on rank 0 while the others wait; raises like `run_on_all`."""
        self.run_on_all(work if self.is_rank0 else lambda: None)

    def broadcast(self, work: Callable[[], T]) -> T:
        """Runs `work` on rank 0 and returns its result, a JSON value, on every rank; raises like `run_on_all`."""
        return self.gather(self.run_on_all(work if self.is_rank0 else lambda: cast(T, None)))[0]

    def gather_to_rank0(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the tensors of all ranks on rank 0, else this rank's; no two ranks use the same name."""
        return dict(tensors)

    @contextmanager
    def open_on_rank0(self, opening: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """Enters a context manager on rank 0 for the block; yields its value there, and None elsewhere."""
        with ExitStack() as stack:
            yield self.run_on_all(lambda: stack.enter_context(opening()) if self.is_rank0 else cast(T, None))

    def device(self, word: str) -> torch.device:
        """Returns this rank's device for the recipe's `train.device`.

        Raises:
            UsageError: there is no such device, or fewer devices than ranks on this machine.
        """
        return choose_device(word)

    def sum_in_place(self, tensor: Tensor) -> None:
        """Replaces a tensor by its sum over all ranks."""

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums each parameter's gradient over all ranks; a missing gradient counts as zero."""

    def exchange(self) -> AbstractContextManager[None]:
        """Wraps a block that communicates through `torch.distributed`; raises RankError if a rank is gone."""
        return nullcontext()
