"""The loss, and the optimizer's update after the step."""

from collections.abc import Iterator

import torch

from bench.parts.part import FLOAT_BYTES, Part, Work
from bench.shape import Shape, random_example
from bench.systems.reversible import recipe_of
from revlm.model import RevLM
from revlm.ops.linear_cross_entropy import linear_cross_entropy

# AdamW reads a weight, its gradient and two moments, and writes all but the gradient, with a dozen operations each.
_ADAMW_VALUES, _ADAMW_FLOPS = 7, 12


def parts(shape: Shape) -> Iterator[Part]:
    """Yields both; the loss has three products: logits, gradient of the hidden state, gradient of the weight."""
    elements = shape.tokens * shape.d_model
    yield Part(
        "loss and its gradients",
        calls=1,
        flops=2 * 3 * elements * shape.vocabulary,
        bytes=2 * FLOAT_BYTES * elements,
        prepare=lambda: _loss(shape),
    )
    parameters = sum(parameter.numel() for parameter in _model(shape).parameters())
    yield Part(
        "optimizer (after the step)",
        calls=0,
        flops=_ADAMW_FLOPS * parameters,
        bytes=_ADAMW_VALUES * FLOAT_BYTES * parameters,
        prepare=lambda: _optimizer(_model(shape)),
    )


def _model(shape: Shape) -> RevLM:
    with torch.device("cpu"):  # weights and examples are drawn there
        model = RevLM(recipe_of(shape), vocab_size=shape.vocabulary, seed=0)
    return model.to(torch.get_default_device())


def _loss(shape: Shape) -> Work:
    hidden = torch.randn(shape.tokens, shape.d_model, requires_grad=True)
    weight = torch.randn(shape.vocabulary, shape.d_model).mul_(0.02).requires_grad_()
    with torch.device("cpu"):
        _, targets = random_example(shape, 0)
    targets = targets.to(hidden.device)
    return lambda: torch.autograd.grad(linear_cross_entropy(hidden, weight, targets), (hidden, weight))


def _optimizer(model: RevLM) -> Work:
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True).step
