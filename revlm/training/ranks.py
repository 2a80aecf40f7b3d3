"""The processes of a run, its ranks: what they do together, and that all go on only where it went well on each.

They keep one order: each calls the same methods of `Ranks`, with the same meaning, one after the other. Alone, a
process does everything by itself, at no cost. `process_group` has the ranks of several processes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import zip_longest
from typing import ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from revlm.errors import UsageError
from revlm.launch import ALONE, Launch
from revlm.runs import choose_device

T = TypeVar("T")


class AgreedError(Exception):
    """An exception that, where a rank raises it, all raise, with the same arguments; these are JSON values.

    Where ranks raise different ones at a time, the lowest `order` decides, then the lowest rank.
    """

    order: ClassVar[int]


class Ranks:
    """One process by itself.

    Attributes:
        launch: its place among all.
        rank: the number of this one, from 0.
        count: how many there are.
    """

    def __init__(self, launch: Launch = ALONE) -> None:
        self.launch, self.rank, self.count = launch, launch.rank, launch.count

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.launch.is_first

    @property
    def is_first_of_machine(self) -> bool:
        """Whether this is the one that does what each machine needs once."""
        return self.launch.local_rank == 0

    def numbers(self, per_step: int) -> range:
        """The numbers in a step of the examples of this rank; each has at least one.

        Raises:
            UsageError: there are more ranks than examples.
        """
        if self.count > per_step:
            raise UsageError(
                f"train.gradient_accumulation_steps is {per_step} and there are {self.count} processes, each of which "
                f"needs an example of every step: set it to {self.count} or more; a multiple keeps all of them at work"
            )
        return range(self.rank, per_step, self.count)

    def gather(self, value: T) -> list[T]:
        """Returns the value of each rank, of JSON's types."""
        return [value]

    def in_order(self, values: Sequence[T]) -> list[T]:
        """Returns the values of all examples of a step, of JSON's types, where each rank has those of its own."""
        rows = zip_longest(*self.gather(list(values)))
        return [value for row in rows for value in row if value is not None]

    def run_on_all(self, work: Callable[[], T]) -> T:
        """Returns what `work` gives here, once it is done on every rank.

        Raises:
            RemoteRankError: it failed on another rank, which raises its own error.
            AgreedError: raised on some rank.
        """
        return work()

    def run_on_rank0(self, work: Callable[[], object]) -> None:
        """Does the work on the first rank, while the others wait; raises as `run_on_all`."""
        self.run_on_all(work if self.is_first else lambda: None)

    def broadcast(self, work: Callable[[], T]) -> T:
        """Returns on every rank what `work` gives on the first one, of JSON's types; raises as `run_on_all`."""
        return self.gather(self.run_on_all(work if self.is_first else lambda: cast(T, None)))[0]

    def bring_to_rank0(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns on the first rank the tensors of all ranks, of which each has names of its own; elsewhere its own."""
        return dict(tensors)

    @contextmanager
    def held_by_rank0(self, opening: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """Holds a context on the first rank for a block; what it gives is there alone, elsewhere None."""
        with ExitStack() as stack:
            yield self.run_on_all(lambda: stack.enter_context(opening()) if self.is_first else cast(T, None))

    def device(self, word: str) -> torch.device:
        """Returns the device of this rank for the recipe's `train.device`.

        Raises:
            UsageError: there is no such device, or none for each process of this machine.
        """
        return choose_device(word)

    def parallel(self, model: nn.Module) -> nn.Module:
        """Returns the model, whose backward pass now sums the gradients of all ranks."""
        return model

    def apart(self, parallel: nn.Module) -> AbstractContextManager[None]:
        """For the forward and backward passes of a block, lets each rank keep what its own gradients sum up to."""
        return nullcontext()

    def expect_backward(self, forward_seconds: float) -> None:
        """Before a backward pass whose gradients are summed: tells how long this rank's forward pass took.

        The ranks wait for each other in proportion, so that a rank with a short example does not give up on one that
        has a long one.
        """

    def exchange(self) -> AbstractContextManager[None]:
        """For a block in which ranks talk through PyTorch; raises RankError where one is gone."""
        return nullcontext()
