"""Counts the times that the host reads what a device computed, each of which waits for the device."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Reads a number, compares tensors, or gives a result whose size depends on numbers.
_READING = {"_local_scalar_dense", "equal", "nonzero", "_unique2", "masked_select", "repeat_interleave"}


class HostReads(TorchDispatchMode):
    """While it is entered, counts by the name of the operation; on a CPU too, where a read costs nothing.

    Copies to the host count on CUDA only: on a CPU there are none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_operation: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """The number of reads."""
        return self.by_operation.total()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Counts an operation, and runs it."""
        result = function(*args, **(kwargs or {}))
        name = function.__name__.partition(".")[0]
        copies = isinstance(result, Tensor) and result.device.type == "cpu" and any(map(_is_on_cuda, args))
        if copies or (name in _READING and function is not torch.ops.aten.repeat_interleave.self_int):
            self.by_operation[name] += 1
        return result


def _is_on_cuda(argument: object) -> bool:
    return isinstance(argument, Tensor) and argument.device.type == "cuda"
