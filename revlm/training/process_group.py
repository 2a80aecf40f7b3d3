"""Several ranks, connected by `torch.distributed`.

Control messages are JSON over gloo, on the CPU. Gradients, and what ranks that share an example exchange, travel over
NCCL between GPUs.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.rendezvous import rendezvous

from revlm.errors import RankError, RemoteRankError, UsageError, exit_code_of, is_out_of_memory
from revlm.launch import Launch
from revlm.model.sequence import SINGLE, ParallelSequenceGroup
from revlm.runs import choose_device
from revlm.training.gpus import agreed_gpu, gpu_of
from revlm.training.gradients import sum_gradients
from revlm.training.ranks import AgreedError, Ranks
from revlm.training.watch import FAILED, LEFT, SECONDS, Watch

T = TypeVar("T")

# A rank that ends is noticed at once, because its connections close; one that hangs, because it no longer reports.
_SILENT_SECONDS = 45.0
# Once a connection broke, some rank is gone for certain: the others report meanwhile.
_GONE_SECONDS = 5.0
# The ranks of a sequence group compute the same number of tokens between two exchanges. How long one waits for the
# others: at least so long, and so many times the longest time that it has itself computed between two exchanges.
_EXCHANGE_SECONDS = 45.0
_EXCHANGE_PER_COMPUTATION = 5
# Other messages may have to wait for a rank whose examples are far longer.
_CONTROL_SECONDS = 2 * 3600.0
_TIMEOUT = timedelta(hours=2)
_POLL_SECONDS = 0.0005
_CPU = torch.device("cpu")


class _PeerFailed(Exception):
    """Another rank has failed, while this one waited for it: it will report its error to all."""


class _ProcessGroupRanks(Ranks):
    """One of several ranks, between `init_process_group` and `destroy_process_group`."""

    def __init__(self, launch: Launch, sequence_parallel: int) -> None:
        super().__init__(launch)
        with _broken_connections_as(self._raise_not_joined):
            store, rank, world_size = next(
                rendezvous(launch.address, launch.rank, launch.world_size, timeout=timedelta(minutes=20))
            )
            # torchrun keeps the store when it restarts all ranks; it still holds the addresses of those that ended.
            store = dist.PrefixStore(f"attempt {launch.attempt}", store)
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            gpu = agreed_gpu(gpu_of(launch), dist.PrefixStore("GPUs", store), rank, world_size)
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=world_size, timeout=_TIMEOUT, device_id=gpu
            )
            self._watch = Watch(dist.PrefixStore("watch", store), rank, world_size)
            self._control = dist.new_group(backend="gloo", timeout=_TIMEOUT)
            dist.barrier(self._control)
        self._watch.start()
        self._longest_computation, self._last_exchange = 0.0, time.monotonic()
        self._in_sequence: dist.ProcessGroup | None = None
        if sequence_parallel > 1:
            self.run_on_all(lambda: _require_groups(sequence_parallel, world_size))
            with self.exchange():
                numbers = torch.arange(world_size).view(-1, sequence_parallel)
                mesh = DeviceMesh("cpu", numbers, mesh_dim_names=("data", "sequence"))
                self._in_sequence = mesh.get_group("sequence")
            super().__init__(
                launch, ParallelSequenceGroup(rank % sequence_parallel, sequence_parallel, self._all_to_all)
            )

    def close(self) -> None:
        """Destroys the groups and drops them, so that their threads end now and not while the interpreter does."""
        self._watch.close()
        self._control = self._in_sequence = None
        self.sequence = SINGLE
        dist.destroy_process_group()

    def leave(self) -> None:
        """Leaves groups of which a rank is gone; there is nothing left to destroy."""
        self._watch.end(LEFT)
        self._watch.close()

    def gather(self, value: T) -> list[T]:
        return self._gather(value, self._control, range(self.world_size), self._finish)

    def gather_in_sequence(self, value: T) -> list[T]:
        if self._in_sequence is None:
            return [value]
        return self._gather(value, self._in_sequence, self._sequence_ranks, self._finish_in_sequence)

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

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        with self.exchange():
            sum_gradients(
                parameters, lambda buffer: self._finish(dist.all_reduce(buffer, async_op=True), buffer.device)
            )

    def exchange(self) -> AbstractContextManager[None]:
        return _broken_connections_as(self._raise_gone)

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
        """Runs `work` on the ranks that `gather` gathers from, the `first` of which is given."""
        result, error = None, None
        try:
            result = work()
        except RankError:
            raise
        except Exception as raised:
            error = raised
            if not isinstance(error, AgreedError | _PeerFailed):
                self._watch.end(FAILED)  # ranks that wait for this one inside of their work go on to the gathering
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
            self._finish_in_sequence(work, out.device)

    def _finish(self, work: dist.Work, device: torch.device = _CPU) -> None:
        """Waits for an operation of all ranks on a device; raises RankError if one of them does not respond."""
        start = time.monotonic()
        while not _is_done(work, device):
            self._require_reports()
            if time.monotonic() - start > _CONTROL_SECONDS:
                self._raise_lost([], f"waited for {_CONTROL_SECONDS / 3600:.0f} hours")

    def _finish_in_sequence(self, work: dist.Work, device: torch.device = _CPU) -> None:
        """Waits for an operation of the ranks that share an example; they come to it at nearly the same time.

        Raises:
            RankError: one of them does not respond, or comes far later.
            _PeerFailed: one of them has failed meanwhile.
        """
        self._watch.begin_exchange()
        start = time.monotonic()
        self._longest_computation = max(self._longest_computation, start - self._last_exchange)
        patience = max(_EXCHANGE_SECONDS, _EXCHANGE_PER_COMPUTATION * self._longest_computation)
        try:
            while not _is_done(work, device):
                self._require_no_failure()
                self._require_reports()
                if time.monotonic() - start > patience:
                    behind = self._watch.behind(self._sequence_ranks)
                    self._raise_lost(behind, f"the others have waited {patience:.0f} s for its part of an example")
        except RuntimeError:  # a connection broke: the rank at its end may have failed
            self._require_no_failure()
            raise
        self._last_exchange = time.monotonic()

    def _require_no_failure(self) -> None:
        if self._watch.failed():
            raise _PeerFailed

    def _require_reports(self) -> None:
        if silent := self._watch.silent(_SILENT_SECONDS):
            self._raise_lost(silent, f"no sign of it for {_SILENT_SECONDS:.0f} s")

    def _raise_gone(self, cause: str) -> NoReturn:
        """Raises the error for a connection that broke, after finding out which rank has ended."""
        for _ in range(3 * round(_GONE_SECONDS / SECONDS)):
            time.sleep(SECONDS)
            if silent := self._watch.silent(_GONE_SECONDS):
                self._raise_lost(silent, cause)
        self._raise_lost([], cause)

    def _raise_lost(self, ranks: list[int], cause: str) -> NoReturn:
        named = f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}" if ranks else "another"
        raise RankError(
            f"{named} of the {self.world_size} ranks of this run has ended or does not respond ({cause}): its last "
            "message tells why; run the same command again to resume from the newest checkpoint"
        )

    def _raise_not_joined(self, cause: str) -> NoReturn:
        self._raise_lost([], cause)


@contextmanager
def join_ranks(launch: Launch, sequence_parallel: int = 1) -> Iterator[Ranks]:
    """The ranks of a run for the block, of which so many share an example.

    Raises:
        RankError: one of them does not join.
        UsageError: they do not divide into groups of so many.
    """
    if launch.world_size == 1:
        _require_groups(sequence_parallel, 1)
        yield Ranks()
        return
    ranks = _ProcessGroupRanks(launch, sequence_parallel)
    try:
        yield ranks
    except RankError:
        ranks.leave()
        raise
    except BaseException:
        ranks.close()
        raise
    ranks.close()


def _require_groups(sequence_parallel: int, world_size: int) -> None:
    if world_size % sequence_parallel:
        raise UsageError(
            f"train.sequence_parallel is {sequence_parallel}, and the number of ranks is {world_size}: start a "
            f"multiple of {sequence_parallel} ranks with torchrun or srun, or set train.sequence_parallel to a divisor "
            f"of {world_size}"
        )


def _is_done(work: dist.Work, device: torch.device) -> bool:
    """Waits for at most a second; returns whether the operation has finished. Raises RuntimeError where it failed."""
    if device.type == "cpu":
        try:
            work.wait(timedelta(seconds=SECONDS))
        except RuntimeError as error:
            if "timed out" in str(error).lower():
                return False
            raise
        return True
    deadline = time.monotonic() + SECONDS
    while not work.is_completed():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    work.wait()
    return True


@contextmanager
def _broken_connections_as(fail: Callable[[str], NoReturn]) -> Iterator[None]:
    """Calls `fail` with the cause of an error of `torch.distributed` in the block."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error) or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        fail(next(iter(str(error).splitlines()), "").rpartition("] ")[2].partition(". ")[0])


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _failure_of(error: Exception) -> dict[str, Any]:
    if isinstance(error, AgreedError):
        return {"order": 1 + error.order, "agreed": type(error).__name__, "arguments": error.args}
    if isinstance(error, _PeerFailed):
        return {"order": 1000, "message": "another rank failed", "exit_code": RankError.exit_code}
    message = next(iter(str(error).strip().splitlines()), "no message")
    return {"order": 0, "message": f"{type(error).__name__}: {message}", "exit_code": exit_code_of(error)}


def _error_of(failure: dict[str, Any], rank: int) -> Exception:
    if "agreed" in failure:
        [kind] = (each for each in AgreedError.__subclasses__() if each.__name__ == failure["agreed"])
        return kind(*failure["arguments"])
    return RemoteRankError(f"rank {rank} failed with {failure['message']}", failure["exit_code"])
