"""Chooses the backend of an operation on a device.

There are three: `compiled` (C++ for the machine's CPU), `triton` (kernels for CUDA) and `pytorch` (PyTorch's
operations, on any device). Each operation is a folder with one file per backend (`reference` for `pytorch`, in
attention `blocked`), all with the same signature. A backend's `takes` rejects inputs that it does not support, such as
a dtype; then PyTorch's operations are used.

The environment variable `REVLM_BACKEND` (auto, compiled, triton or pytorch) applies to every operation, `using` to a
`with` block. `auto` is `compiled` on a CPU with a working compiler, `triton` on CUDA where it can be imported, and
`pytorch` otherwise; if the faster backend fails, a warning is issued once.
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
    """Returns the backend for a device, one of `BACKENDS`.

    Raises:
        UsageError: the requested backend is unknown or unavailable.
    """
    requested = _requested()
    if requested != "auto":
        require(requested, device)
        return requested
    if device.type == "cpu" and library.builds():
        return "compiled"
    return "triton" if availability.runs_on(device) else "pytorch"


def planned(device_kind: str) -> str:
    """Returns the backend that `chosen` is expected to return on "cpu" or "cuda", without building anything."""
    requested = _requested()
    if requested != "auto":
        return requested
    if device_kind == "cpu" and library.is_available():
        return "compiled"
    return "triton" if availability.is_for(device_kind) else "pytorch"


def require(backend: str, device: torch.device) -> None:
    """Checks that a backend can be used on a device, and builds it if needed.

    Raises:
        UsageError: it cannot; the message gives the reason and an alternative.
    """
    reason = None
    if backend == "compiled":
        if device.type != "cpu":
            reason = f"is for the CPU and the tensors are on {device}"
        elif (command := library.compiler()) is None:
            reason = "needs a C++ compiler (install g++, or name one in CXX or REVLM_COMPILER)"
        else:
            library.load(command)
    elif backend == "triton":
        reason = availability.obstacle(device)
    if reason is not None:
        raise UsageError(f"backend '{backend}' {reason}: use 'pytorch', or another device")


@contextmanager
def using(backend: str) -> Iterator[None]:
    """Uses a backend inside the `with` block, as `REVLM_BACKEND` would; for tests and comparisons."""
    token = _override.set(backend)
    try:
        yield
    finally:
        _override.reset(token)


def _requested() -> str:
    override = _override.get()
    requested = os.environ.get(VARIABLE) or "auto" if override is None else override
    if requested not in ("auto", *BACKENDS):
        raise UsageError(f"{VARIABLE} is {requested!r}: give one of auto, {', '.join(BACKENDS)}")
    return requested


def implementation(operation: str, device: torch.device, *inputs: Any) -> Any:
    """Returns the module of package `operation` that computes it for inputs on a device.

    It is the chosen backend's module if the operation has one that takes the inputs, otherwise `reference`.
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
