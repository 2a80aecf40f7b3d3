"""Sums gradients over ranks, in a few buffers of one fixed layout."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from revlm.planning.sizes import GRADIENT_BUFFER_BYTES


def sum_gradients(parameters: Iterable[nn.Parameter], sum_over_ranks: Callable[[Tensor], object]) -> None:
    """Replaces each parameter's gradient by its sum over all ranks; a missing gradient counts as zero.

    `sum_over_ranks` sums a buffer in place. The order in which it adds the ranks' values may depend on an element's
    position in the buffer. The buffers depend only on the parameters, so a resumed run gives the same bits.
    """
    for group in grouped(parameters, GRADIENT_BUFFER_BYTES):
        gradients = [_gradient(parameter).view(-1) for parameter in group]
        if len(gradients) == 1:
            sum_over_ranks(gradients[0])
            continue
        buffer = torch.cat(gradients)
        sum_over_ranks(buffer)
        for gradient, total in zip(gradients, buffer.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(total)


def grouped(parameters: Iterable[nn.Parameter], max_bytes: int) -> Iterator[list[nn.Parameter]]:
    """Yields groups of consecutive parameters of one dtype with at most `max_bytes`, or one larger parameter alone."""
    group, size_bytes = list[nn.Parameter](), 0
    for parameter in parameters:
        if group and (size_bytes + parameter.nbytes > max_bytes or parameter.dtype != group[0].dtype):
            yield group
            group, size_bytes = [], 0
        group.append(parameter)
        size_bytes += parameter.nbytes
    if group:
        yield group


def _gradient(parameter: nn.Parameter) -> Tensor:
    """Returns a parameter's gradient, contiguous; a parameter without one gets zeros."""
    parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
    return parameter.grad
