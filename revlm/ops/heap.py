"""Configures how the C library's heap (glibc) handles freed memory.

Tensors are not freed in reverse order of allocation, so the heap fragments: memory freed between two live tensors is
kept, and over evaluations and hundreds of steps such holes add up to more than the tensors. Large allocations therefore
come from the system individually and return to it; the small ones of tiles stay in the heap and are reused, until the
heap is trimmed for something larger.
"""

import ctypes
import functools
import os
from typing import Any

import torch
from torch import Tensor

LARGE_BLOCK_BYTES = 8 * 2**20
"""Allocations of at least this size come from the system and return to it."""

_TRIM_BYTES = 64 * 2**20  # free memory that stays at the heap's end for the next tile
_FRAGMENTED_BYTES = 128 * 2**20  # more free memory than the tiles of a layer use
_HUGE_PAGE_BYTES = 2 * 2**20
_MADV_HUGEPAGE = 14  # madvise(2), of Linux
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


def keep_large_blocks_apart() -> None:
    """Makes the C library map large allocations individually; call it before creating tensors.

    The user's `MALLOC_MMAP_THRESHOLD_` or `MALLOC_TRIM_THRESHOLD_` (mallopt(3)) takes precedence.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None or {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & os.environ.keys():
        return
    set_option(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
    set_option(_M_TRIM_THRESHOLD, _TRIM_BYTES)


def return_freed_memory() -> None:
    """Returns freed heap memory to the system, also between live tensors, not only at the heap's end."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of mallinfo(3)."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    ]


def is_fragmented() -> bool:
    """Returns whether the heap holds more free memory than tiles reuse; False where the C library does not tell."""
    information = _mallinfo2()
    return information is not None and information().fordblks > _FRAGMENTED_BYTES


@functools.cache
def _mallinfo2() -> Any:
    information = getattr(ctypes.CDLL(None), "mallinfo2", None)  # of glibc 2.33
    if information is not None:
        information.restype = _MallocInfo
    return information


def hold_in_huge_pages(tensor: Tensor) -> Tensor:
    """Requests huge pages for a tensor's memory that is not yet touched; returns the tensor.

    The system then clears and maps 512 times fewer pages, and random reads miss only the cache, not also the TLB.
    """
    advise = None if tensor.device.type != "cpu" or tensor.nbytes < _HUGE_PAGE_BYTES else _madvise()
    if advise is None:
        return tensor
    first = -(-tensor.data_ptr() // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
    beyond = (tensor.data_ptr() + tensor.nbytes) // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
    if first < beyond:
        advise(ctypes.c_void_p(first), ctypes.c_size_t(beyond - first), _MADV_HUGEPAGE)
    return tensor


@functools.cache
def _madvise() -> Any:
    return getattr(ctypes.CDLL(None), "madvise", None)


def copy_in_huge_pages(tensor: Tensor) -> Tensor:
    """Returns a copy of a tensor, for which huge pages are requested."""
    return hold_in_huge_pages(torch.empty_like(tensor)).copy_(tensor)
