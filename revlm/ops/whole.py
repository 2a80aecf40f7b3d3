"""Memory for tensors of a whole sequence."""

import ctypes
import functools
import mmap
from collections.abc import Callable

import torch

_ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)
# Below this the C library takes memory from its heap, where it has been used before.
_SMALLEST_BYTES = 8 * 2**20


def empty(*shape: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns what `torch.empty` returns; on a CPU under Linux in huge pages, where the tensor is large.

    A large tensor's memory is new to the process, and each page of it costs a fault when it is first written: of 4 KiB
    a page, that takes several times as long as the writing.
    """
    tensor = torch.empty(*shape, dtype=dtype, device=device)
    size = tensor.numel() * tensor.element_size()
    if _ADVICE is not None and tensor.device.type == "cpu" and size >= _SMALLEST_BYTES:
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        whole_pages = (tensor.data_ptr() + size - first) // mmap.PAGESIZE * mmap.PAGESIZE
        # Advice: a system without huge pages goes on with small ones.
        _madvise()(first, whole_pages, _ADVICE)
    return tensor


@functools.cache
def _madvise() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
