"""Exact causal attention, for comparison: per document, with memory linear and time quadratic in its length."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from revlm.model.kinds.kind import Kind
from revlm.model.parts.cache import Cache, joined
from revlm.model.parts.context import Context
from revlm.model.parts.heads import (
    ReadQueriesKeysValues,
    Rotary,
    Temperature,
    WriteHeads,
    memory_of_reading,
    memory_of_writing,
)
from revlm.model.parts.keys_values import KeysValues
from revlm.model.parts.memory import FULL_BYTES, AttentionMemory, LayerSizes, MixMemory, Weights
from revlm.model.parts.sublayer import Mix, Sublayer
from revlm.recipe import Model as ModelRecipe

# Elements of the mask of a group of queries and all keys before them.
_MASK_ELEMENTS = 2**24


class FullAttention(Mix):
    """PyTorch's attention over all earlier tokens of the document and the token itself, without a sink."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.temperature = Temperature(n_heads)

    def forward(self, *read: Tensor, context: Context) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output from q, k, v [heads, tokens, head_dim]."""
        q, k, v = read
        q = (q * self.temperature()[:, None, None]).to(v.dtype)
        documents = [
            scaled_dot_product_attention(
                q[None, :, start:stop],
                k[None, :, start:stop],
                v[None, :, start:stop],
                is_causal=True,
                scale=1.0,
            )[0]
            for start, stop in context.bounds
        ]
        return documents[0] if len(documents) == 1 else torch.cat(documents, dim=1)


def layer(recipe: ModelRecipe, number: int) -> Sublayer:
    """Returns the exact attention sublayer that a recipe describes."""
    return Sublayer(
        read=ReadQueriesKeysValues(recipe.d_model, recipe.n_heads),
        mix=FullAttention(recipe.n_heads),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )


class FullCache(Cache):
    """All keys and values; the samples share those from before the fork."""

    def __init__(self, read: ReadQueriesKeysValues, mix: FullAttention, dtype: torch.dtype) -> None:
        self._read, self._mix = read, mix
        self._kept = KeysValues(read.n_heads, read.head_dim, dtype, mix.temperature.log_scale.device)
        self._unmixed: list[Tensor] = []

    def reserve(self, tokens: int) -> None:
        """Allocates memory for `tokens` more tokens."""
        self._kept.reserve(tokens)

    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Adds the next tile of the stream."""
        self._unmixed.append(self._append(x, rotary))

    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the output of the new tokens over all tokens so far, for a group of queries at a time."""
        q = joined(self._unmixed)
        self._unmixed = []
        k, v = self._kept.records[1:].permute(2, 1, 0, 3)
        first = k.shape[1] - q.shape[1]
        some = max(1, _MASK_ELEMENTS // k.shape[1])
        out = torch.empty_like(q)
        for start in range(0, q.shape[1], some):
            stop = min(start + some, q.shape[1])
            keys = first + stop
            earlier = torch.ones(stop - start, keys, dtype=torch.bool, device=q.device).tril_(first + start)
            out[:, start:stop] = scaled_dot_product_attention(
                q[None, :, start:stop], k[None, :, :keys], v[None, :, :keys], attn_mask=earlier, scale=1.0
            )[0]
        return out

    def step(self, x: Float[Tensor, "samples d_model"], rotary: Rotary) -> Float[Tensor, "heads samples head_dim"]:
        """Returns the output of each sample's next token, over the shared keys and the sample's own."""
        q = self._append(x, rotary)
        shared_k, shared_v = self._kept.records[1 : 1 + self._kept.shared].permute(2, 1, 0, 3)
        if self._kept.samples == 1:
            return scaled_dot_product_attention(q[None], shared_k[None], shared_v[None], scale=1.0)[0]
        own = self._kept.records[1 + self._kept.shared :].unflatten(0, (-1, self._kept.samples))
        own_k, own_v = own.permute(3, 2, 1, 0, 4)
        in_full = torch.promote_types(q.dtype, torch.float32)
        with torch.autocast(q.device.type, enabled=False):  # autocast would round the logits
            full_q = q.to(in_full)
            of_shared = full_q @ shared_k.to(in_full).mT
            of_own = (full_q[..., None, :] @ own_k.to(in_full).mT)[..., 0, :]
            weights = torch.cat([of_shared, of_own], dim=-1).softmax(-1)
            of_shared, of_own = weights.split([of_shared.shape[-1], of_own.shape[-1]], dim=-1)
            out = of_shared @ shared_v.to(in_full) + (of_own[..., None, :] @ own_v.to(in_full))[..., 0, :]
        return out.to(q.dtype)

    def fork(self, samples: int) -> None:
        """Shares the keys and values so far among the samples."""
        self._kept.fork(samples)

    def tensors(self) -> list[Tensor]:
        """Returns the keys and values."""
        return self._kept.tensors()

    def _append(self, x: Tensor, rotary: Rotary) -> Tensor:
        """Caches the keys and values of new tokens; returns their scaled queries."""
        q, k, v = self._read.at(x, rotary)
        self._kept.append(k, v)
        return (q * self._mix.temperature()[:, None, None]).to(v.dtype)


def cache(sublayer: Sublayer, rotations: Tensor | None, dtype: torch.dtype) -> FullCache:
    """Returns an empty cache for a sublayer, with keys and values in `dtype`."""
    assert isinstance(sublayer.read, ReadQueriesKeysValues)
    assert isinstance(sublayer.mix, FullAttention)
    return FullCache(sublayer.read, sublayer.mix, dtype)


def memory(sizes: LayerSizes, weights: Weights) -> AttentionMemory:
    """Returns the bytes of one sublayer in a training step."""
    whole, log_sum_exp = sizes.product_hidden_bytes, FULL_BYTES * sizes.n_heads * sizes.tokens
    # The scaled queries, in full and in product precision; the kernel itself needs little.
    scaled = whole + (sizes.hidden_bytes if sizes.product_bytes < FULL_BYTES else 0)
    mix = MixMemory(
        read=3 * whole,
        mixed=whole,
        saved=whole + log_sum_exp,
        made=3 * whole + scaled,
        summed=0,
        gradients=3 * whole,
        overwritten=0,
        forward_workspace=scaled - whole,
        backward_workspace=whole,
    )
    return AttentionMemory(
        read=memory_of_reading(sizes, weights.read_matrices),
        mix=mix,
        write=memory_of_writing(sizes, weights.write_matrices),
    )


FULL = Kind(layer=layer, cache=cache, memory=memory)
