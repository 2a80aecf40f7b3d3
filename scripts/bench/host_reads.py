"""Counts the times that the host reads what a device computed, each of which waits for the device."""

import functools
from collections import Counter
from typing import Any, Self

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

    def __enter__(self) -> Self:
        """Starts to count; what a list is made of, on a CPU, no mode sees."""
        original = Tensor.tolist

        @functools.wraps(original)
        def tolist(tensor: Tensor) -> object:
            self.by_operation["tolist"] += tensor.device.type == "cpu"
            return original(tensor)

        setattr(Tensor, "tolist", tolist)  # noqa: B010
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stops."""
        super().__exit__(*error)
        del Tensor.tolist  # that of the class below

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Counts an operation, and runs it."""
        result = function(*args, **(kwargs or {}))
        name = function.__name__.partition(".")[0]
        copies = isinstance(result, Tensor) and result.device.type == "cpu" and any(map(_is_on_cuda, args))
        if copies or (name in _READING and "output_size" not in (kwargs or {})):
            self.by_operation[name] += 1
        return result


def _is_on_cuda(argument: object) -> bool:
    return isinstance(argument, Tensor) and argument.device.type == "cuda"
