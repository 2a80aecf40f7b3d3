"""The loss of a language model's head, without ever holding all logits in memory."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from revlm.errors import UsageError
from revlm.ops import backends
from revlm.ops.heap import hold_in_huge_pages

# Tokens whose logits exist at once.
TILE = 2048


def linear_cross_entropy(
    hidden: Float[Tensor, "tokens d_model"],
    weight: Float[Tensor, "vocabulary d_model"],
    targets: Int[Tensor, "tokens"],
    tile: int = TILE,
) -> Float[Tensor, ""]:
    """Returns the sum of the cross-entropies of `hidden @ weight.T`, in nats; only [tile, vocabulary] logits exist.

    Products have autocast's dtype, or that of `hidden`; the softmax and the sum of the weight's gradient are in float32
    (float64 for float64). Gradients are computed in the forward pass, tile by tile.

    Raises:
        UsageError: a target is outside the vocabulary.
    """
    if targets.numel():
        smallest, largest = torch.stack(targets.aminmax()).tolist()  # one read of the device
        if smallest < 0 or largest >= weight.shape[0]:
            raise UsageError(
                f"targets are between {smallest} and {largest}, outside a vocabulary of {weight.shape[0]} tokens: "
                "tokenize with this model's tokenizer"
            )
    device = hidden.device.type
    product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    # Checked here: inside the Function gradients are off, and `needs_input_grad` is true even under `no_grad`.
    differentiable = torch.is_grad_enabled()
    return _LinearCrossEntropy.apply(hidden, weight, targets, tile, product, differentiable)


def workspace_bytes(
    *, tokens: int, vocab_size: int, d_model: int, product_bytes: int, device_kind: str, tile: int = TILE
) -> int:
    """Returns the peak of the bytes that the forward pass holds besides its inputs and the gradients that it computes.

    `product_bytes` is the size of an element in the products: 4 without autocast, 2 under it; `device_kind` is "cpu"
    or "cuda".
    """
    rows = min(tile, tokens)
    logits = product_bytes * rows * vocab_size
    casts = product_bytes * (vocab_size + rows) * d_model if product_bytes < 4 else 0
    # PyTorch's softmax: the intermediates of the log-sum-exp or the gradient, and a copy of half-precision logits.
    softmax = 0 if backends.planned(device_kind) == "compiled" else (4 if product_bytes == 4 else 8) * rows * vocab_size
    # One tile's gradients: of its hidden states, and of the weight before it is cast to the dtype of the sum.
    of_weight = (product_bytes + 4) * vocab_size if product_bytes < 4 else 0
    of_products = max(product_bytes * rows, of_weight) * d_model
    return logits + max(softmax, of_products) + casts


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, tile: int, product: torch.dtype, differentiable: bool
    ) -> Tensor:
        need_hidden, need_weight = (differentiable and need for need in ctx.needs_input_grad[:2])
        with torch.autocast(hidden.device.type, enabled=False):
            loss, *gradients = _tiled_loss(hidden, weight, targets, tile, product, need_hidden, need_weight)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        # In place: PyTorch then refuses a second backward pass, since a saved tensor has changed.
        scaled = (None if gradient is None else gradient.mul_(d_loss) for gradient in ctx.saved_tensors)
        return (*scaled, None, None, None, None)


def _tiled_loss(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    tile: int,
    product: torch.dtype,
    need_hidden: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss and, where they are needed, the gradients of the hidden states and of the weight."""
    summed = torch.promote_types(hidden.dtype, torch.float32)
    d_hidden = hold_in_huge_pages(torch.empty_like(hidden)) if need_hidden else None
    d_weight = torch.zeros_like(weight, dtype=summed) if need_weight else None
    product_weight, targets = weight.to(product), targets.long()
    buffer = hidden.new_empty(min(tile, hidden.shape[0]), weight.shape[0], dtype=product)
    backend = backends.implementation(__name__, hidden.device, buffer)
    loss = hidden.new_zeros((), dtype=torch.float64)
    for start in range(0, hidden.shape[0], tile):
        rows, target = hidden[start : start + tile].to(product), targets[start : start + tile]
        logits = torch.mm(rows, product_weight.T, out=buffer[: rows.shape[0]])
        loss += backend.softmax_gradient_(logits, target).sum()
        if d_hidden is not None:
            d_hidden[start : start + tile] = logits @ product_weight
        if d_weight is not None and product == summed:
            d_weight.addmm_(logits.T, rows)
        elif d_weight is not None:
            d_weight += logits.T @ rows
    return loss.to(summed), d_hidden, None if d_weight is None else d_weight.to(weight.dtype)
