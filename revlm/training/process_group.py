"""Several ranks, connected by `torch.distributed`.

Control messages are JSON over gloo, on the CPU. Gradients are summed over NCCL between GPUs.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from revlm.errors import RankError, RemoteRankError, UsageError, exit_code_of, is_out_of_memory
from revlm.launch import Launch
from revlm.runs import choose_device
from revlm.training.gradients import sum_gradients
from revlm.training.ranks import AgreedError, Ranks

T = TypeVar("T")

# Timeouts for a rank that hangs; one that ends is noticed at once, because its connections close. All ranks sum
# gradients at the same time. Control messages may have to wait for a rank whose examples are far longer.
_SUM_TIMEOUT = timedelta(minutes=20)
_CONTROL_TIMEOUT = timedelta(hours=2)


class _ProcessGroupRanks(Ranks):
    """One of several ranks, between `init_process_group` and `destroy_process_group`."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        with self.exchange():
            store, rank, world_size = next(
                rendezvous(launch.address, launch.rank, launch.world_size, timeout=_SUM_TIMEOUT)
            )
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                # torchrun keeps the store when it restarts all ranks; it still holds the addresses of those that ended.
                store=dist.PrefixStore(f"attempt {launch.attempt}", store),
                rank=rank,
                world_size=world_size,
                timeout=_SUM_TIMEOUT,
            )
            self._control = dist.new_group(backend="gloo", timeout=_CONTROL_TIMEOUT)

    def close(self) -> None:
        """Destroys the groups and drops them, so that their threads end now and not while the interpreter does."""
        dist.destroy_process_group()
        del self._control

    def gather(self, value: T) -> list[T]:
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        with self.exchange():
            dist.all_gather(sizes, torch.tensor([len(content)]), group=self._control)
            padded = torch.zeros(max(int(size) for size in sizes), dtype=torch.uint8)
            padded[: len(content)] = content
            contents = [torch.empty_like(padded) for _ in range(self.world_size)]
            dist.all_gather(contents, padded, group=self._control)
        return [json.loads(bytes(each[: int(size)].numpy())) for each, size in zip(contents, sizes, strict=True)]

    def run_on_all(self, work: Callable[[], T]) -> T:
        result, error = None, None
        try:
            result = work()
        except RankError:
            raise
        except Exception as raised:
            error = raised
        failures = self.gather(None if error is None else _failure_of(error))
        failed = [(failure["order"], rank, failure) for rank, failure in enumerate(failures) if failure]
        if not failed:
            return cast(T, result)
        _, failed_rank, failure = min(failed)
        if error is not None and failed_rank == self.rank:
            raise error
        raise _error_of(failure, failed_rank) from None

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
            sum_gradients(parameters, dist.all_reduce)

    @contextmanager
    def exchange(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error) or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            cause = next(iter(str(error).splitlines()), "").rpartition("] ")[2].partition(". ")[0]
            raise RankError(
                f"another of the {self.world_size} ranks of this run has ended or does not respond ({cause}): its last "
                "message tells why; run the same command again to resume from the newest checkpoint"
            ) from error


@contextmanager
def join_ranks(launch: Launch) -> Iterator[Ranks]:
    """The ranks of a run for the block; raises RankError if one of them does not join."""
    if launch.world_size == 1:
        yield Ranks()
        return
    ranks = _ProcessGroupRanks(launch)
    try:
        yield ranks
    except RankError:
        raise  # the other ranks are gone: there is no group left to destroy
    except BaseException:
        ranks.close()
        raise
    ranks.close()


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _failure_of(error: Exception) -> dict[str, Any]:
    if isinstance(error, AgreedError):
        return {"order": 1 + error.order, "agreed": type(error).__name__, "arguments": error.args}
    message = next(iter(str(error).strip().splitlines()), "no message")
    return {"order": 0, "message": f"{type(error).__name__}: {message}", "exit_code": exit_code_of(error)}


def _error_of(failure: dict[str, Any], rank: int) -> Exception:
    if "agreed" in failure:
        [kind] = (each for each in AgreedError.__subclasses__() if each.__name__ == failure["agreed"])
        return kind(*failure["arguments"])
    return RemoteRankError(f"rank {rank} failed with {failure['message']}", failure["exit_code"])
