"""The one choice of backend: what computes an operation on a device.

There are three: `compiled` (C++ for this machine's CPU), `triton` (kernels for CUDA) and `pytorch` (PyTorch's own
operations, on any device). Each operation is a folder with a file for each backend that it has (for `pytorch` that is
`reference`, for attention `blocked`), all with the same signature. What a backend is not made for, such as a dtype, its
`takes` refuses, and PyTorch's operations do it.

The environment's `REVLM_BACKEND` (auto, compiled, triton or pytorch) decides for every operation, and
`using` for a block. `auto` is `compiled` on a CPU for which there is a compiler that works, `triton` on CUDA where that
can be imported, else `pytorch`; where the quicker one fails, a warning says so once.
"""

import functools
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from revlm.errors import UsageError
from revlm.ops.compiled import library
from revlm.ops.triton import availability

BACKENDS = ("compiled", "triton", "pytorch")
VARIABLE = "REVLM_BACKEND"
_override: ContextVar[str | None] = ContextVar("backend", default=None)


def chosen(device: torch.device) -> str:
    """Returns the backend of operations on a device, one of `BACKENDS`.

    Raises:
        UsageError: where one is asked for that is not known or cannot be here.
    """
    asked = _asked()
    if asked != "auto":
        require(asked, device)
        return asked
    if device.type == "cpu" and library.builds():
        return "compiled"
    return "triton" if availability.runs_on(device) else "pytorch"


def planned(device_kind: str) -> str:
    """Returns what `chosen` will return on "cpu" or "cuda", as far as can be told before anything is built."""
    asked = _asked()
    if asked != "auto":
        return asked
    if device_kind == "cpu" and library.is_available():
        return "compiled"
    return "triton" if availability.is_for(device_kind) else "pytorch"


def require(backend: str, device: torch.device) -> None:
    """Returns where a backend can be used on a device, building it where it is to be built.

    Raises:
        UsageError: where it cannot, with the reason and what to use there.
    """
    reason = None
    if backend == "compiled":
        if device.type != "cpu":
            reason = f"is for the CPU and the tensors are on {device}"
        elif (command := library.compiler()) is None:
            reason = "finds no C++ compiler (install g++, or name one in CXX or REVLM_COMPILER)"
        else:
            library.load(command)
    elif backend == "triton":
        reason = availability.obstacle(device)
    if reason is not None:
        raise UsageError(f"backend '{backend}' {reason}: use PyTorch's own operations, or another device")


@contextmanager
def using(backend: str) -> Iterator[None]:
    """Has a block's operations use a backend, as `REVLM_BACKEND` would; for tests and comparisons."""
    token = _override.set(backend)
    try:
        yield
    finally:
        _override.reset(token)


def _asked() -> str:
    override = _override.get()
    asked = os.environ.get(VARIABLE) or "auto" if override is None else override
    if asked not in ("auto", *BACKENDS):
        raise UsageError(f"{VARIABLE} is {asked!r}: give one of auto, {', '.join(BACKENDS)}")
    return asked


def implementation(operation: str, device: torch.device, *inputs: Any) -> Any:
    """Returns the module that computes an operation, which is the package of this name, for inputs on a device.

    It is the one of the chosen backend where the operation has it and it takes the inputs, else `reference`.
    """
    backend = chosen(device)
    if backend != "pytorch":
        module = _module(f"{operation}.{backend}")
        if module is not None and (not inputs or module.takes(*inputs)):
            return module
    return _module(f"{operation}.reference")


@functools.cache
def _module(name: str) -> Any:
    return importlib.import_module(name) if importlib.util.find_spec(name) else None
