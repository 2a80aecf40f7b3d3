"""Memory of a piece of work, measured in a process of its own that gives freed memory back at once."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import pytest

from revlm.runs import MemoryMeter

Result = TypeVar("Result")

# For the C library's allocator: one heap, every larger block from the system, nothing held back. One thread, since
# each brings buffers of its own.
_SETTINGS = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
}


def run_apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Returns what a function returns in a fresh process; skips the test where peaks cannot be measured."""
    if not MemoryMeter("cpu").peaks_by_phase:
        pytest.skip("this system cannot set the peak of resident memory back")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _SETTINGS.items():
            patch.setenv(name, value)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()


def peak_bytes(work: Callable[[], object]) -> int:
    """Returns how far resident memory rises, while `work` runs, above where it stood before."""
    meter = MemoryMeter("cpu")
    with meter.phase("work"):
        work()
    peak = meter.peaks()["memory_work_peak_bytes"]
    assert peak is not None
    return peak - meter.baseline_bytes
