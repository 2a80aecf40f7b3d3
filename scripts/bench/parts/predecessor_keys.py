"""Keys with predecessors: a pass over all keys before they are hashed."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.parts.part import Part, Work
from bench.precisions import DTYPES
from bench.shape import Shape
from revlm.ops.predecessor_keys import keys_with_predecessors

# Operations an element: the weighted sum, its length and the unit vector; backwards the same again, the gradient of the
# unit vector and of the weight, and the sum of a key's two gradients.
_FORWARD_FLOPS, _BACKWARD_FLOPS = 5, 14


def parts(shape: Shape, precision: str) -> Iterator[Part]:
    """Yields the forward and backward pass."""
    elements = shape.tokens * shape.d_model
    tensor_bytes = elements * DTYPES[precision].itemsize
    yield Part(
        "keys with predecessors, forward",
        calls=2 * shape.layers,
        flops=_FORWARD_FLOPS * elements,
        bytes=2 * tensor_bytes,
        prepare=lambda: _forward(shape, precision),
    )
    yield Part(
        "keys with predecessors, backward",
        calls=shape.layers,
        flops=_BACKWARD_FLOPS * elements,
        bytes=3 * tensor_bytes,
        prepare=lambda: _backward(shape, precision),
    )


def _inputs(shape: Shape, precision: str) -> tuple[Tensor, Tensor, Tensor]:
    """Returns keys, the first tokens of documents (there is one) and the weights of the predecessors."""
    k = torch.randn(shape.heads, shape.tokens, shape.head_dim).to(DTYPES[precision])
    return k, torch.zeros(1, dtype=torch.int64), torch.linspace(0, 1, shape.heads)


def _forward(shape: Shape, precision: str) -> Work:
    inputs = _inputs(shape, precision)
    return lambda: keys_with_predecessors(*inputs)


def _backward(shape: Shape, precision: str) -> Work:
    k, starts, weight = _inputs(shape, precision)
    needed = k.requires_grad_(), weight.requires_grad_()
    out = keys_with_predecessors(k, starts, weight)
    gradient = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, needed, gradient, retain_graph=True)
