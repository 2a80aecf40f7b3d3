"""What PyTorch's CPU allocator was asked for, exactly, whatever the system makes of it."""

import gc
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def peaks(work: Callable[[], object], *phases: str) -> dict[str, int]:
    """The most bytes that `work` held at one time beyond what was there before, in all ("") and in each phase.

    A phase is a block of `torch.profiler.record_function`. Memory that was there before should not be freed in `work`:
    its size is not known.
    """
    gc.collect()  # or the garbage of earlier work may be freed in this one
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        kept = work()
    events = profiled.profiler.kineto_results.events()
    spans = [(event.name(), event.start_ns(), event.end_ns()) for event in events if event.name() in phases]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held, most = 0, dict.fromkeys(("", *phases), 0)
    for when, size in changes:
        held += size
        for name in ("", *(name for name, start, end in spans if start <= when <= end)):
            most[name] = max(most[name], held)
    del kept
    return most
