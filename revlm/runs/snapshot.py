"""Snapshots of CUDA's allocations when memory runs out, for https://pytorch.org/memory_viz."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revlm.storage import staging_name

_MAX_EVENTS = 100_000


@contextmanager
def memory_snapshot_on_failure(path: Path | None) -> Iterator[None]:
    """Records CUDA's allocations during the block, and writes them to `path` if memory runs out; no-op for None.

    The file is a pickle, the format of PyTorch's viewer: revlm writes it and never reads it.
    """
    if path is None:
        yield
        return
    import torch

    torch.cuda.memory._record_memory_history(max_entries=_MAX_EVENTS)
    try:
        yield
    except torch.OutOfMemoryError:
        staging = path.with_name(staging_name(path.name))  # torch would follow a symbolic link at the file's path
        torch.cuda.memory._dump_snapshot(str(staging))
        os.replace(staging, path)
        raise
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)
