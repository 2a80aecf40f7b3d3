"""Memory of a piece of work, measured in a process of its own that gives freed memory back at once."""

import ctypes
import os
from collections.abc import Callable
from typing import TypeVar

import pytest

from revlm.runs import MemoryMeter
from tests.several import in_fork

Result = TypeVar("Result")

# mallopt(3): one heap, every larger block from the system, nothing held back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_SETTINGS = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: 65536, _M_TRIM_THRESHOLD: 65536}
_OF_THE_USER = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def run_apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Returns what a function returns in a fresh process; skips the test where peaks cannot be measured."""
    if not MemoryMeter("cpu").peaks_by_phase or not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this system cannot set the peak of resident memory back, or its heap cannot be told")
    ended = in_fork(_give_back_at_once, function, *arguments)
    assert ended.code == 0, ended.stderr
    return ended.value


def _give_back_at_once(function: Callable[..., Result], *arguments: object) -> Result:
    for option, value in _SETTINGS.items():
        ctypes.CDLL(None).mallopt(option, value)
    os.environ |= _OF_THE_USER  # revlm leaves the heap of a user who has set them as it is
    return function(*arguments)


def peak_bytes(work: Callable[[], object]) -> int:
    """Returns how far resident memory rises, while `work` runs, above where it stood before."""
    meter = MemoryMeter("cpu")
    with meter.phase("work"):
        work()
    peak = meter.peaks()["memory_work_peak_bytes"]
    assert peak is not None
    return peak - meter.baseline_bytes
