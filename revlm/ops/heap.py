"""What the C library does with memory that was freed, where it can be told (glibc).

Tensors come and go in another order than a heap would like: what is freed between two that stay is kept, and after
evaluations and hundreds of steps such gaps add up to more than the tensors. Large blocks therefore come from the
system, each on its own, and go back to it; the small ones of tiles stay in the heap, where they are reused, until
they are asked back for something larger.
"""

import ctypes
import os

from torch import Tensor

LARGE_BLOCK_BYTES = 8 * 2**20
"""Blocks from this size on come from the system and go back to it."""

_TRIM_BYTES = 64 * 2**20  # free memory at the heap's end that a free leaves there, for the next tile
_HUGE_PAGE_BYTES = 2 * 2**20
_MADV_HUGEPAGE = 14  # madvise(2), of Linux
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


def keep_large_blocks_apart() -> None:
    """Tells the C library to map large blocks one by one; call it before there are tensors.

    A user's own `MALLOC_MMAP_THRESHOLD_` or `MALLOC_TRIM_THRESHOLD_` (mallopt(3)) is left alone.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None or {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & os.environ.keys():
        return
    set_option(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
    set_option(_M_TRIM_THRESHOLD, _TRIM_BYTES)


def return_freed_memory() -> None:
    """Gives memory that was freed in the heap back to the system; in between tensors too, not only at its end."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def hold_in_huge_pages(tensor: Tensor) -> Tensor:
    """Asks the system for huge pages where a tensor's memory is not yet touched; returns the tensor.

    What is read here and there in gigabytes then waits for memory alone, not for the tables that tell where it lies.
    """
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if tensor.device.type != "cpu" or advise is None:
        return tensor
    first = -(-tensor.data_ptr() // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
    beyond = (tensor.data_ptr() + tensor.nbytes) // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
    if first < beyond:
        advise(ctypes.c_void_p(first), ctypes.c_size_t(beyond - first), _MADV_HUGEPAGE)
    return tensor
