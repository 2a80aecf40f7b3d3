"""Whether kernels in Triton can run: on CUDA where `triton` can be imported, and on the CPU in its interpreter."""

import functools
import importlib
import os
import warnings
from contextlib import AbstractContextManager, nullcontext

import torch


def is_available() -> bool:
    """Returns whether `triton` can be imported."""
    return _failure() is None


def is_interpreted() -> bool:
    """Returns whether kernels run in Triton's interpreter (TRITON_INTERPRET=1), for tests and on any device."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def is_for(device_kind: str) -> bool:
    """Returns whether kernels are what `auto` means on a kind of device; it is never the interpreter."""
    return device_kind == "cuda" and not is_interpreted() and is_available()


def runs_on(device: torch.device) -> bool:
    """Returns what `is_for` returns; where CUDA lacks Triton, that is warned of once."""
    if device.type == "cuda" and not is_available():
        _warn_of_absence()
    return is_for(device.type)


def obstacle(device: torch.device) -> str | None:
    """Returns why kernels cannot run on a device; None where they can."""
    if (failure := _failure()) is not None:
        return f"cannot import triton ({failure}; install it)"
    if device.type != "cuda" and not is_interpreted():
        return f"is for CUDA and the tensors are on {device} (TRITON_INTERPRET=1 runs it slowly in an interpreter)"
    return None


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Returns a block in which kernels are launched on the device of their tensors."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@functools.cache
def _failure() -> str | None:
    try:
        importlib.import_module("triton")
    except (ImportError, OSError, RuntimeError) as error:  # also where a library beneath it is missing
        return str(error)
    return None


@functools.cache
def _warn_of_absence() -> None:
    warnings.warn(
        f"triton cannot be imported ({_failure()}): everything goes on with PyTorch's own operations, which "
        "are slower; install the triton of this PyTorch",
        RuntimeWarning,
        stacklevel=2,
    )
