"""Whether Triton kernels can run: on CUDA if `triton` can be imported, on the CPU in its interpreter."""

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
    """Returns whether kernels run in Triton's interpreter (TRITON_INTERPRET=1), which serves tests on any device."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def is_for(device_kind: str) -> bool:
    """Returns whether `auto` means Triton on a kind of device; it never means the interpreter."""
    return device_kind == "cuda" and not is_interpreted() and is_available()


def runs_on(device: torch.device) -> bool:
    """Returns `is_for` of the device's kind; warns once where CUDA lacks Triton."""
    if device.type == "cuda" and not is_available():
        _warn_of_absence()
    return is_for(device.type)


def obstacle(device: torch.device) -> str | None:
    """Returns why kernels cannot run on a device, or None where they can."""
    if (failure := _failure()) is not None:
        return f"cannot import triton ({failure}; install it)"
    if device.type != "cuda" and not is_interpreted():
        return f"is for CUDA and the tensors are on {device} (TRITON_INTERPRET=1 runs it slowly in an interpreter)"
    return None


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Returns a context in which kernels are launched on a device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@functools.cache
def _failure() -> str | None:
    try:
        importlib.import_module("triton")
    except (ImportError, OSError, RuntimeError) as error:  # OSError, RuntimeError: one of its libraries is missing
        return str(error)
    return None


@functools.cache
def _warn_of_absence() -> None:
    warnings.warn(
        f"triton cannot be imported ({_failure()}): falling back to PyTorch's operations, which are "
        "slower; install the triton version of this PyTorch",
        RuntimeWarning,
        stacklevel=2,
    )
