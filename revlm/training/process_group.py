"""The ranks of several processes, by PyTorch's own engine.

What they tell each other is JSON through gloo, on the CPU; gradients go through `DistributedDataParallel`, by NCCL
between GPUs.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from revlm.errors import RankError, RemoteRankError, UsageError, exit_code_of, is_out_of_memory
from revlm.launch import Launch
from revlm.runs import choose_device
from revlm.training.ranks import AgreedError, Ranks

T = TypeVar("T")

# A process that ends is noticed at once, since its connections close: these are for one that hangs. Gradients are
# waited for while the others are at the same backward pass, whose length the forward pass before it tells; all else
# while they may be at examples far longer.
_GRADIENTS_WAIT = timedelta(minutes=20)
_BACKWARD_BY_FORWARD = 20  # a backward pass takes about three times its forward pass; machines vary
_WAIT = timedelta(hours=2)


class _JoinedRanks(Ranks):
    """One of several processes, between `init_process_group` and `destroy_process_group`."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        with self.exchange():
            store, rank, count = next(rendezvous(launch.address, launch.rank, launch.count, timeout=_GRADIENTS_WAIT))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                # torchrun keeps the store when it starts all again, with the addresses of those that have ended.
                store=dist.PrefixStore(f"attempt {launch.attempt}", store),
                rank=rank,
                world_size=count,
                timeout=_GRADIENTS_WAIT,
            )
            self._telling = dist.new_group(backend="gloo", timeout=_WAIT)

    def gather(self, value: T) -> list[T]:
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        with self.exchange():
            dist.all_gather(sizes, torch.tensor([len(content)]), group=self._telling)
            padded = torch.zeros(max(int(size) for size in sizes), dtype=torch.uint8)
            padded[: len(content)] = content
            contents = [torch.empty_like(padded) for _ in range(self.count)]
            dist.all_gather(contents, padded, group=self._telling)
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
        _, speaker, failure = min(failed)
        if error is not None and speaker == self.rank:
            raise error
        raise _error_of(failure, speaker) from None

    def bring_to_rank0(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        brought = dict(tensors)
        kinds = self.gather({name: (_name_of(tensor.dtype), list(tensor.shape)) for name, tensor in tensors.items()})
        with self.exchange():
            for rank, named in enumerate(kinds[1:], start=1):
                for name, (dtype, shape) in named.items():
                    if self.is_first:
                        brought[name] = torch.empty(shape, dtype=getattr(torch, dtype))
                        dist.recv(brought[name], src=rank, group=self._telling)
                    elif self.rank == rank:
                        dist.send(tensors[name].cpu().contiguous(), dst=0, group=self._telling)
        return brought

    def device(self, word: str) -> torch.device:
        device = choose_device(word)
        if device.type == "cpu":
            return device
        here, local = torch.cuda.device_count(), self.launch
        number = 0 if local.bound and here == 1 else local.local_rank
        if device.index is not None or number >= here:
            raise UsageError(
                f"train.device is {word} and there are {local.local_count} processes and {here} GPUs on this machine: "
                "each takes one of its own with train.device=cuda, so start one a GPU"
            )
        torch.cuda.set_device(number)
        return torch.device("cuda", number)

    def parallel(self, model: nn.Module) -> nn.Module:
        device = next(model.parameters()).device
        # Forward passes tell the others nothing: a rank that fails in one leaves none waiting. PyTorch 2.13 renamed it.
        names = inspect.signature(DistributedDataParallel).parameters.keys()
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
        options: dict[str, Any] = {buffers: False, "gradient_as_bucket_view": True}
        with self.exchange():
            parallel = DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None, **options)
        parallel.register_comm_hook(None, _sum_gradients)
        return parallel

    def apart(self, parallel: nn.Module) -> AbstractContextManager[None]:
        assert isinstance(parallel, DistributedDataParallel)
        return parallel.no_sync()

    def expect_backward(self, forward_seconds: float) -> None:
        slowest = max(self.gather(forward_seconds))
        dist.distributed_c10d._set_pg_timeout(gradients_wait(slowest), dist.group.WORLD)

    @contextmanager
    def exchange(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error) or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            cause = next(iter(str(error).splitlines()), "").rpartition("] ")[2].partition(". ")[0]
            raise RankError(
                f"another of the {self.count} processes of this run has ended or does not answer ({cause}): what it "
                "said last tells why, and the same command goes on from the newest checkpoint"
            ) from error


@contextmanager
def joined(launch: Launch) -> Iterator[Ranks]:
    """The ranks of a run for a block; raises RankError where one does not come."""
    if launch.count == 1:
        yield Ranks()
        return
    ranks = _JoinedRanks(launch)
    try:
        yield ranks
    except RankError:
        raise  # the others are no more there to be parted from
    except BaseException:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def gradients_wait(forward_seconds: float) -> timedelta:
    """Returns how long to wait for the gradients of the others, the slowest of which took so long to go forward."""
    return max(_GRADIENTS_WAIT, timedelta(seconds=_BACKWARD_BY_FORWARD * forward_seconds))


def _sum_gradients(state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Sums gradients over the ranks, each parameter's by itself.

    The order in which a sum is taken depends on the place in what is summed, and `DistributedDataParallel` packs its
    buckets anew after the first step: summed as they are packed, a run that goes on would differ in its last bits.
    """
    sums = [dist.all_reduce(gradient, async_op=True).get_future() for gradient in bucket.gradients()]

    def summed(done: torch.futures.Future[list[torch.futures.Future[Any]]]) -> Tensor:
        for each in done.value():
            each.wait()  # raises what went wrong with it; on CUDA what follows then waits too
        return bucket.buffer()

    return torch.futures.collect_all(sums).then(summed)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _failure_of(error: Exception) -> dict[str, Any]:
    if isinstance(error, AgreedError):
        return {"order": 1 + error.order, "agreed": type(error).__name__, "arguments": error.args}
    said = next(iter(str(error).strip().splitlines()), "no message")
    return {"order": 0, "said": f"{type(error).__name__}: {said}", "exit_code": exit_code_of(error)}


def _error_of(failure: dict[str, Any], rank: int) -> Exception:
    if "agreed" in failure:
        [kind] = (each for each in AgreedError.__subclasses__() if each.__name__ == failure["agreed"])
        return kind(*failure["arguments"])
    return RemoteRankError(f"rank {rank} failed with {failure['said']}", failure["exit_code"])
