"""What CUDA held when it ran out of memory, written for https://pytorch.org/memory_viz."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAXIMUM_EVENTS = 100_000


@contextmanager
def memory_snapshot_on_failure(path: Path | None) -> Iterator[None]:
    """Records CUDA's allocations during the block and writes them to `path`, unless it is None, where memory runs out.

    The file has the format of torch and of its viewer, a pickle: revlm writes it and never reads it.
    """
    if path is None:
        yield
        return
    import torch

    torch.cuda.memory._record_memory_history(max_entries=_MAXIMUM_EVENTS)
    try:
        yield
    except torch.OutOfMemoryError:
        torch.cuda.memory._dump_snapshot(str(path))
        raise
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)
