"""Bucketed window attention with the backend of `auto`; local attention is for comparison."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from bench.parts.hashing import buckets, unit_keys
from bench.parts.part import Part, Work
from bench.precisions import DTYPES
from bench.shape import Shape
from revlm.ops.attention import attention_with_log_sum_exp

# Products per pair of tokens and channel: the logit and the weighted value; backwards the logit again, and the
# gradients of the weight, the value, the query and the key.
_FORWARD_PRODUCTS, _BACKWARD_PRODUCTS = 2, 5
_SCALE = 10.0


def parts(shape: Shape, precision: str) -> Iterator[Part]:
    """Yields the forward and backward pass of hash and of local attention."""
    pairs = shape.heads * shape.tokens * shape.window
    tensor_bytes = shape.tokens * shape.d_model * DTYPES[precision].itemsize
    # In hash attention queries are keys. Reads q, k, v and writes the result; backwards also reads its gradient and
    # writes those of q, k, v.
    for kind, rounds, calls, forward, backward in (
        ("lsh", shape.rounds, shape.layers, 3, 6),
        ("local", 1, 0, 4, 7),
    ):
        yield Part(
            f"attention, {kind}, forward",
            calls=2 * calls,
            flops=2 * _FORWARD_PRODUCTS * rounds * pairs * shape.head_dim,
            bytes=forward * rounds * tensor_bytes,
            prepare=partial(_forward, shape, precision, kind),
        )
        yield Part(
            f"attention, {kind}, backward",
            calls=calls,
            flops=2 * _BACKWARD_PRODUCTS * rounds * pairs * shape.head_dim,
            bytes=backward * rounds * tensor_bytes,
            prepare=partial(_backward, shape, precision, kind),
        )


class _Inputs:
    """Random inputs of one layer."""

    def __init__(self, shape: Shape, precision: str, kind: str) -> None:
        self.shape, self.hashed = shape, kind == "lsh"
        self.k = unit_keys(shape).to(DTYPES[precision])
        self.q = self.k if self.hashed else unit_keys(shape).to(DTYPES[precision])
        self.v = torch.randn_like(self.k)
        self.scale, self.sink = torch.full((shape.heads,), _SCALE), torch.zeros(shape.heads)
        one_document = torch.zeros(1, 1, shape.tokens, dtype=torch.int32).expand(shape.heads, -1, -1)
        self.bucket = buckets(shape, self.k.float()) if self.hashed else one_document

    def differentiable(self) -> list[Tensor]:
        """Returns the differentiable inputs, each once."""
        inputs = [self.k, self.v, self.scale, self.sink]
        return inputs if self.hashed else [self.q, *inputs]

    def attend(self) -> Tensor:
        """Returns the output of the layer's attention."""
        return attention_with_log_sum_exp(
            self.q,
            self.k,
            self.v,
            self.bucket,
            window=self.shape.window,
            scale=self.scale,
            sink=self.sink,
            include_self=not self.hashed,
        )[0]


def _forward(shape: Shape, precision: str, kind: str) -> Work:
    return _Inputs(shape, precision, kind).attend


def _backward(shape: Shape, precision: str, kind: str) -> Work:
    inputs = _Inputs(shape, precision, kind)
    needed = [tensor.requires_grad_() for tensor in inputs.differentiable()]
    out = inputs.attend()
    gradient = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, needed, gradient, retain_graph=True)
