"""Exact causal attention as written today: PyTorch's fused attention and loss, and a checkpoint per layer.

With a document mask it is `flex_attention`, which skips the blocks of other documents; else one document is an example.
No positions: the hash layers have none either.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import gelu, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from bench.shape import Shape
from revlm.ops import linear_cross_entropy as revlm_loss

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
# Tokens whose logits exist at once, as in revlm.
_LOSS_CHUNK = 2048


class _Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, width = shape.heads, shape.d_model
        self.attention_norm, self.feed_forward_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.read, self.write = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.widen, self.narrow = nn.Linear(width, shape.d_ff, bias=False), nn.Linear(shape.d_ff, width, bias=False)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        q, k, v = self.read(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(1, 2, 0, 3)[:, None]
        mixed = attend(q, k, v)
        x = x + self.write(mixed[0].transpose(0, 1).flatten(1))
        return x + self.narrow(gelu(self.widen(self.feed_forward_norm(x))))


class _ExactAttention(nn.Module):
    def __init__(self, shape: Shape, attention_over: Callable[[Tensor], Attend]) -> None:
        super().__init__()
        self.attention_over = attention_over
        self.embedding = nn.Embedding(shape.vocabulary, shape.d_model)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.d_model)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        x, attend = self.embedding(inputs), self.attention_over(inputs)
        for block in self.blocks:
            x = cast(Tensor, checkpoint(block, x, attend, use_reentrant=False))
        hidden, weight = self.norm(x), self.embedding.weight
        if not hasattr(torch.nn, "LinearCrossEntropyOptions"):  # an older PyTorch
            return revlm_loss(hidden, weight, targets, _LOSS_CHUNK) / targets.shape[0]
        options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=_LOSS_CHUNK, chunking_method=None)
        return torch.nn.functional.linear_cross_entropy(hidden, weight, targets, options=options)


def build(shape: Shape, *, document_mask: bool = False) -> tuple[nn.Module, nn.Module]:
    """Returns the model, which is its own loss."""
    model = _ExactAttention(shape, partial(_flex, shape) if document_mask else _fused)
    return model, model


def _fused(inputs: Tensor) -> Attend:
    return partial(scaled_dot_product_attention, is_causal=True)


def _flex(shape: Shape, inputs: Tensor) -> Attend:
    """Returns the attention of a pass; on a GPU its kernels are compiled, and the mask is never whole in memory."""
    tokens, device = len(inputs), inputs.device
    # The warm-up of other lengths is one document.
    document = shape.document_ids(device) if tokens == shape.tokens else torch.zeros_like(inputs)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (document[query] == document[key])

    on_gpu = device.type == "cuda"
    mask = create_block_mask(sees, None, None, tokens, tokens, device=device, _compile=on_gpu)
    attention = cast(Callable[..., Any], torch.compile(flex_attention, dynamic=False) if on_gpu else flex_attention)
    return partial(attention, block_mask=mask)
