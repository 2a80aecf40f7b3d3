"""The loss of a language model's head, without its logits ever being whole in memory."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

# Tokens whose logits exist at one time.
TILE = 2048


def linear_cross_entropy(
    hidden: Float[Tensor, "tokens d_model"],
    weight: Float[Tensor, "vocabulary d_model"],
    targets: Int[Tensor, "tokens"],
    tile: int = TILE,
) -> Float[Tensor, ""]:
    """Returns the sum of the cross-entropies of `hidden @ weight.T`, in nats; only [tile, vocabulary] logits exist.

    Without autocast this is PyTorch's own chunked operation where PyTorch has it. That one ignores autocast, and in
    half precision would sum the loss in half precision; so under autocast, and on older versions, our tiles do the
    work: products in the dtype of autocast, softmax and sums in float32.
    """
    device = hidden.device.type
    product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    options = getattr(torch.nn, "LinearCrossEntropyOptions", None)
    if options is not None and product in (torch.float32, torch.float64):
        return torch.nn.functional.linear_cross_entropy(
            hidden,
            weight,
            targets.long(),
            reduction="sum",
            options=options(batch_chunk_size=tile, chunking_method=None),
        )
    return tiled_linear_cross_entropy(hidden, weight, targets, tile, product)


def workspace_bytes(*, tokens: int, vocab_size: int, d_model: int, product_bytes: int, tile: int = TILE) -> int:
    """Returns the most bytes that the forward pass holds beside its inputs and the gradients that it makes.

    `product_bytes` is the size of an element in the products: 4 without autocast, 2 under it.
    """
    rows, following = min(tile, tokens), min(tile, max(tokens - tile, 0))
    if product_bytes == 4:
        return 4 * rows * vocab_size + 8 * tokens
    # A tile's logits in both precisions are still there while those of the next are made, in both precisions.
    logits = max(8 * rows, 6 * (rows + following)) * vocab_size
    return logits + product_bytes * (vocab_size + rows + following) * d_model


def tiled_linear_cross_entropy(
    hidden: Float[Tensor, "tokens d_model"],
    weight: Float[Tensor, "vocabulary d_model"],
    targets: Int[Tensor, "tokens"],
    tile: int,
    product: torch.dtype,
) -> Float[Tensor, ""]:
    """Returns what `linear_cross_entropy` returns, with the products in the given dtype.

    Gradients are computed in the forward pass, tile by tile; those of the weight are summed in float32 (float64 for
    float64) in a fixed order.
    """
    return _LinearCrossEntropy.apply(hidden, weight, targets, tile, product)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, tile: int, product: torch.dtype) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return _tiled_loss(ctx, hidden, weight, targets, tile, product)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors
        scaled = (None if gradient is None else gradient * d_loss for gradient in (d_hidden, d_weight))
        return (*scaled, None, None, None)


def _tiled_loss(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, tile: int, product: torch.dtype) -> Tensor:
    summed = torch.promote_types(hidden.dtype, torch.float32)
    need_hidden, need_weight = ctx.needs_input_grad[:2]
    d_hidden = torch.empty_like(hidden) if need_hidden else None
    d_weight = torch.zeros_like(weight, dtype=summed) if need_weight else None
    product_weight = weight.to(product)
    loss = hidden.new_zeros((), dtype=summed)
    for start in range(0, hidden.shape[0], tile):
        rows, target = hidden[start : start + tile].to(product), targets[start : start + tile].long()[:, None]
        logits = (rows @ product_weight.T).to(summed)
        log_sum_exp = logits.logsumexp(-1, keepdim=True)
        loss += (log_sum_exp - logits.gather(1, target)).sum()
        if d_hidden is None and d_weight is None:
            continue
        d_logits = logits.sub_(log_sum_exp).exp_()
        d_logits.scatter_add_(1, target, d_logits.new_full(target.shape, -1.0))
        d_logits = d_logits.to(product)
        if d_hidden is not None:
            d_hidden[start : start + tile] = d_logits @ product_weight
        if d_weight is not None:
            d_weight += d_logits.T @ rows
    ctx.save_for_backward(d_hidden, None if d_weight is None else d_weight.to(weight.dtype))
    return loss
