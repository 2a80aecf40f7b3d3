"""Freed memory goes back to the system."""

import ctypes
import os
import platform
import re
from pathlib import Path

import pytest
import torch

from revlm.ops.heap import hold_in_huge_pages, is_fragmented, keep_large_blocks_apart, return_freed_memory
from revlm.runs import MemoryMeter
from tests.apart import run_apart
from tests.several import in_fork

MIB = 2**20

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library cannot be told")


def kept_bytes(block: int, *, apart: bool, returned: bool) -> int:
    """What stays resident of 160 MiB in blocks that lay between small ones, in a process of its own."""
    ended = in_fork(_kept_bytes, block, apart, returned)
    assert ended.code == 0, ended.stderr
    return ended.value


def _kept_bytes(block: int, apart: bool, returned: bool) -> int:
    for variable in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        os.environ.pop(variable, None)
    if apart:
        keep_large_blocks_apart()
    torch.ones(7 * MIB)  # freed at once: where glibc is not told, it now takes blocks up to this size from its heap
    meter = MemoryMeter()
    passing, staying = [], []
    for _ in range(160 * MIB // block):
        passing.append(torch.ones(block // 4))
        staying.append(torch.ones(8192))
    passing.clear()
    if returned:
        return_freed_memory()
    assert staying
    return meter.current_bytes() - meter.baseline_bytes


def test_large_blocks_go_back_when_they_are_freed() -> None:
    assert kept_bytes(10 * MIB, apart=True, returned=False) < 20 * MIB
    assert kept_bytes(10 * MIB, apart=False, returned=False) > 100 * MIB


def test_small_blocks_go_back_when_asked_for() -> None:
    assert kept_bytes(MIB, apart=True, returned=True) < 30 * MIB
    assert kept_bytes(MIB, apart=True, returned=False) > 100 * MIB


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library does not tell")
def test_holes_between_live_blocks_are_noticed() -> None:
    ended = in_fork(_holes)
    assert ended.code == 0, ended.stderr
    assert ended.value == [False, False, True]


def _holes() -> list[bool]:
    """Whether the heap is fragmented before, with 160 MiB in small blocks, and after every other one was freed."""
    keep_large_blocks_apart()
    found = [is_fragmented()]
    passing, staying = [], []
    for _ in range(160):
        passing.append(torch.ones(MIB // 4))
        staying.append(torch.ones(8192))
    found.append(is_fragmented())
    passing.clear()
    return [*found, is_fragmented()]


def flags_of_memory(address: int) -> list[str]:
    """What the system keeps in mind of the pages around an address (proc_pid_smaps(5))."""
    for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())[1:]:
        first, beyond = (int(end, 16) for end in mapping.partition(" ")[0].split("-"))
        if first <= address < beyond:
            return mapping.partition("VmFlags:")[2].split()
    return []


@pytest.mark.skipif(platform.system() != "Linux", reason="Linux tells of its pages")
def test_huge_pages_are_asked_for_inside_of_a_tensor_alone() -> None:
    run_apart(_ask_for_huge_pages)


def _ask_for_huge_pages() -> None:
    tensor = torch.empty(16 * MIB, dtype=torch.uint8)
    assert "hg" not in flags_of_memory(tensor.data_ptr() + 8 * MIB)
    assert hold_in_huge_pages(tensor) is tensor
    assert "hg" in flags_of_memory(tensor.data_ptr() + 8 * MIB)
    assert "hg" not in flags_of_memory(tensor.data_ptr())  # its first pages are shared with what lies before


def test_a_tensor_smaller_than_a_huge_page_stays_as_it_is() -> None:
    tensor = torch.arange(1000)
    assert torch.equal(hold_in_huge_pages(tensor), torch.arange(1000))
