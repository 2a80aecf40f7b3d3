"""Decoding of a layer with exact attention: every key and value, and a token costs as much as there are."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from revlm.model.attention.full import FullAttention
from revlm.model.attention.heads import ReadQueriesKeysValues, Rotary
from revlm.model.decoding.cache import Cache, joined
from revlm.model.decoding.keys_values import KeysValues

# Of the mask of some queries and all keys before them.
_MASK_ELEMENTS = 2**24


class FullCache(Cache):
    """All keys and values; those of the sequence before a fork are shared by the samples."""

    def __init__(self, read: ReadQueriesKeysValues, mix: FullAttention, head_dim: int, dtype: torch.dtype) -> None:
        self._read, self._mix = read, mix
        self._kept = KeysValues(read.n_heads, head_dim, dtype, mix.temperature.log_scale.device)
        self._unmixed: list[Tensor] = []

    def reserve(self, tokens: int) -> None:
        """Makes room for so many more tokens."""
        self._kept.reserve(tokens)

    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Takes in a tile of the stream."""
        self._unmixed.append(self._append(x, rotary))

    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the output of the new tokens over all before them, some queries at a time."""
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
        """Returns the output of one token of each sample, over the shared keys and over the sample's own."""
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
        """Lets the samples share what there is."""
        self._kept.fork(samples)

    def tensors(self) -> list[Tensor]:
        """Returns the keys and values."""
        return self._kept.tensors()

    def _append(self, x: Tensor, rotary: Rotary) -> Tensor:
        """Keeps the keys and values of new tokens; returns their queries, scaled."""
        q, k, v = self._read.at(x, rotary)
        self._kept.append(k, v)
        return (q * self._mix.temperature()[:, None, None]).to(v.dtype)
