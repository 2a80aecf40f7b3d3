"""Sums gradients over ranks, in a few buffers of one fixed layout."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from revlm.planning.sizes import GRADIENT_BUFFER_BYTES


def sum_gradients(parameters: Iterable[nn.Parameter], sum_: Callable[[Tensor], object]) -> None:
    """Replaces each parameter's gradient by its sum over all ranks; one that a rank does not have counts as zero.

    `sum_` sums a buffer over the ranks in place. The order in which it adds ranks may depend on an element's position
    in the buffer. The buffers depend on nothing but the parameters, so a resumed run gives the same bits.
    """
    for together in packed(parameters, GRADIENT_BUFFER_BYTES):
        gradients = [_gradient(parameter).view(-1) for parameter in together]
        if len(gradients) == 1:
            sum_(gradients[0])
            continue
        buffer = torch.cat(gradients)
        sum_(buffer)
        for gradient, total in zip(gradients, buffer.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(total)


def packed(parameters: Iterable[nn.Parameter], most_bytes: int) -> Iterator[list[nn.Parameter]]:
    """Yields consecutive parameters of one dtype that together take at most so many bytes, or one that takes more."""
    together, size_bytes = list[nn.Parameter](), 0
    for parameter in parameters:
        if together and (size_bytes + parameter.nbytes > most_bytes or parameter.dtype != together[0].dtype):
            yield together
            together, size_bytes = [], 0
        together.append(parameter)
        size_bytes += parameter.nbytes
    if together:
        yield together


def _gradient(parameter: nn.Parameter) -> Tensor:
    """Returns a parameter's gradient, contiguous; zeros, from now on its gradient, where it has none."""
    parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
    return parameter.grad
