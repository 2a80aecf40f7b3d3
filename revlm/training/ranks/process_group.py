"""Several ranks, connected by `torch.distributed`.

Control messages are JSON over gloo, on the CPU. Gradients, and what ranks that share an example exchange, travel over
NCCL between GPUs.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.rendezvous import rendezvous

from revlm.errors import RankError, RemoteRankError, UsageError, exit_code_of
from revlm.launch import Launch
from revlm.model.sequence import SINGLE, ParallelSequenceGroup
from revlm.runs import choose_device
from revlm.training.ranks.gpus import agreed_gpu, gpu_of, leave_failures_to_waiting
from revlm.training.ranks.gradients import sum_gradients
from revlm.training.ranks.monitoring import FAILED, LEFT, RankMonitor
from revlm.training.ranks.ranks import AgreedError, Ranks
from revlm.training.ranks.waiting import LONGEST_WAIT, PeerFailed, Waiting, broken_connections, lost_rank_error

T = TypeVar("T")

_JOIN_TIMEOUT = timedelta(minutes=20)


class _ProcessGroupRanks(Ranks):
    """One of several ranks, between `init_process_group` and `destroy_process_group`."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)

        def not_joined(cause: str) -> NoReturn:
            raise lost_rank_error([], launch.world_size, cause)

        with broken_connections(not_joined):
            store, rank, world_size = next(
                rendezvous(launch.address, launch.rank, launch.world_size, timeout=_JOIN_TIMEOUT)
            )
            # torchrun keeps the store when it restarts all ranks; it still holds the addresses of those that ended.
            store = dist.PrefixStore(f"attempt {launch.attempt}", store)
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            leave_failures_to_waiting(os.environ)
            gpu = agreed_gpu(gpu_of(launch), dist.PrefixStore("GPUs", store), rank, world_size)
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=world_size, timeout=LONGEST_WAIT, device_id=gpu
            )
            self._monitor = RankMonitor(dist.PrefixStore("heartbeats", store), rank, world_size)
            self._control = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
            dist.barrier(self._control)
        self._monitor.start()
        self._waiting = Waiting(self._monitor, world_size)
        self._in_sequence: dist.ProcessGroup | None = None

    def share_examples(self, size: int) -> None:
        """Makes groups of `size` consecutive ranks share their examples.

        Raises:
            UsageError: ranks are left over, or the ranks differ in `size`.
        """
        sizes = self.gather(size)
        self.run_on_all(lambda: _require_same_size(sizes))
        self.run_on_all(lambda: _require_groups(size, self.world_size))
        if size == 1:
            return
        with self.exchange():
            numbers = torch.arange(self.world_size).view(-1, size)
            self._in_sequence = DeviceMesh("cpu", numbers, mesh_dim_names=("data", "sequence")).get_group("sequence")
        self._set_sequence(ParallelSequenceGroup(self.rank % size, size, self._all_to_all))

    def close(self) -> None:
        """Destroys the groups, so that their threads end before the interpreter shuts down."""
        self._monitor.close()
        self._control = self._in_sequence = None
        self._set_sequence(SINGLE)
        dist.destroy_process_group()

    def leave(self) -> None:
        """Leaves the groups without destroying them, which could wait forever for a rank that has failed or is gone."""
        self._monitor.end(LEFT)
        self._monitor.close()

    def gather(self, value: T) -> list[T]:
        return self._gather(value, self._control, range(self.world_size), self._waiting.for_all)

    def gather_in_sequence(self, value: T) -> list[T]:
        if self._in_sequence is None:
            return [value]
        return self._gather(value, self._in_sequence, self._sequence_ranks, self._waiting.in_group)

    def run_on_all(self, work: Callable[[], T]) -> T:
        return self._run(work, self.gather, 0)

    def run_in_sequence(self, work: Callable[[], T]) -> T:
        if self._in_sequence is None:
            return work()
        return self._run(work, self.gather_in_sequence, self._sequence_ranks.start)

    def gather_to_rank0(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        gathered = dict(tensors)
        kinds = self.gather({name: (_name_of(tensor.dtype), list(tensor.shape)) for name, tensor in tensors.items()})
        with self.exchange():
            for rank, named in enumerate(kinds[1:], start=1):
                for name, (dtype, shape) in named.items():
                    if self.is_rank0:
                        gathered[name] = torch.empty(shape, dtype=getattr(torch, dtype))
                        dist.recv(gathered[name], src=rank, group=self._control)
                    elif self.rank == rank:
                        dist.send(tensors[name].cpu().contiguous(), dst=0, group=self._control)
        return gathered

    def device(self, word: str) -> torch.device:
        device = choose_device(word)
        if device.type == "cpu":
            return device
        here, local = torch.cuda.device_count(), self.launch
        number = 0 if local.bound and here == 1 else local.local_rank
        if device.index is not None or number >= here:
            raise UsageError(
                f"train.device is {word}, and this machine has {local.local_world_size} ranks and {here} GPUs: start "
                "one rank per GPU with train.device=cuda, and each takes its own"
            )
        torch.cuda.set_device(number)
        return torch.device("cuda", number)

    def sum_in_place(self, tensor: Tensor) -> None:
        with self.exchange():
            self._sum(tensor)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        with self.exchange():
            sum_gradients(parameters, self._sum)

    def _sum(self, buffer: Tensor) -> None:
        self._waiting.for_all(dist.all_reduce(buffer, async_op=True), buffer.device)

    def exchange(self) -> AbstractContextManager[None]:
        return broken_connections(self._waiting.raise_broken_connection)

    @property
    def _sequence_ranks(self) -> range:
        """The ranks that share this rank's examples."""
        first = self.rank - self.sequence.rank
        return range(first, first + self.sequence.size)

    def _gather(self, value: T, group: dist.ProcessGroup | None, ranks: range, finish: Callable[..., None]) -> list[T]:
        """Returns the JSON values of the ranks of a group, by rank; `finish` waits for an operation."""
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in ranks]
        with self.exchange():
            finish(dist.all_gather(sizes, torch.tensor([len(content)]), group=group, async_op=True))
            padded = torch.zeros(max(int(each) for each in sizes), dtype=torch.uint8)
            padded[: len(content)] = content
            contents = [torch.empty_like(padded) for _ in ranks]
            finish(dist.all_gather(contents, padded, group=group, async_op=True))
        return [json.loads(bytes(each[: int(length)].numpy())) for each, length in zip(contents, sizes, strict=True)]

    def _run(self, work: Callable[[], T], gather: Callable[[Any], list[Any]], first: int) -> T:
        """Runs `work` on the ranks that `gather` gathers from; `first` is the lowest of these ranks."""
        result, error = None, None
        try:
            result = work()
        except RankError:
            raise
        except Exception as raised:
            error = raised
            if not isinstance(error, AgreedError | PeerFailed):
                self._monitor.end(FAILED)  # ranks that wait for this one inside `work` then reach the gathering below
        failures = gather(None if error is None else _failure_of(error))
        failed = [(failure["order"], rank, failure) for rank, failure in enumerate(failures, first) if failure]
        if not failed:
            return cast(T, result)
        _, failed_rank, failure = min(failed)
        if error is not None and failed_rank == self.rank:
            raise error
        raise _error_of(failure, failed_rank) from None

    def _all_to_all(self, out: Tensor, given: Tensor, taken_rows: list[int], given_rows: list[int]) -> None:
        with self.exchange():
            work = dist.all_to_all_single(out, given, taken_rows, given_rows, group=self._in_sequence, async_op=True)
            self._waiting.for_exchange(work, out.device, self._sequence_ranks)


@contextmanager
def join_ranks(launch: Launch, sequence_parallel: int = 1) -> Iterator[Ranks]:
    """Connects the ranks of a run for the block; `sequence_parallel` of them share each example.

    Raises:
        RankError: a rank does not join.
        UsageError: the number of ranks is not a multiple of `sequence_parallel`.
    """
    if launch.world_size == 1:
        _require_groups(sequence_parallel, 1)
        yield Ranks()
        return
    ranks = _ProcessGroupRanks(launch)
    try:
        ranks.share_examples(sequence_parallel)
        yield ranks
    except (RankError, RemoteRankError):
        ranks.leave()
        raise
    except BaseException:
        ranks.close()
        raise
    ranks.close()


def _require_same_size(sizes: list[int]) -> None:
    if len(set(sizes)) > 1:
        listed = ", ".join(map(str, sizes))
        raise UsageError(f"the ranks differ in train.sequence_parallel ({listed}): give every rank the same recipe")


def _require_groups(sequence_parallel: int, world_size: int) -> None:
    if world_size % sequence_parallel:
        raise UsageError(
            f"train.sequence_parallel is {sequence_parallel}, and the number of ranks is {world_size}: start a "
            f"multiple of {sequence_parallel} ranks with torchrun or srun, or set train.sequence_parallel to a divisor "
            f"of {world_size}"
        )


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _failure_of(error: Exception) -> dict[str, Any]:
    if isinstance(error, AgreedError):
        return {"order": 1 + error.order, "agreed": type(error).__name__, "arguments": error.args}
    if isinstance(error, PeerFailed):
        return {"order": 1000, "message": "another rank failed", "exit_code": RankError.exit_code}
    message = next(iter(str(error).strip().splitlines()), "no message")
    return {"order": 0, "message": f"{type(error).__name__}: {message}", "exit_code": exit_code_of(error)}


def _error_of(failure: dict[str, Any], rank: int) -> Exception:
    if "agreed" in failure:
        [kind] = (each for each in AgreedError.__subclasses__() if each.__name__ == failure["agreed"])
        return kind(*failure["arguments"])
    return RemoteRankError(f"rank {rank} failed with {failure['message']}", failure["exit_code"])
