"""Decoding of a local layer: the last `window` keys and values, whatever the length."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.model.attention.heads import ReadQueriesKeysValues, Rotary
from revlm.model.attention.local import LocalAttention
from revlm.model.decoding.cache import Cache, joined
from revlm.ops.attention import attention_with_log_sum_exp, one_token
from revlm.ops.attention.one_query import one_query_attention


class LocalCache(Cache):
    """A ring of keys and values: the token at position p stands in place p modulo the window."""

    def __init__(self, read: ReadQueriesKeysValues, mix: LocalAttention, head_dim: int, dtype: torch.dtype) -> None:
        self._read, self._mix = read, mix
        device = mix.sink.device
        self._ring = torch.zeros(read.n_heads, 1, mix.window, 2, head_dim, dtype=dtype, device=device)
        self._tokens = 0
        self._unmixed: list[tuple[Tensor, Tensor, Tensor]] = []

    def reserve(self, tokens: int) -> None:
        """Needs no room: the ring stays as it is."""

    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Takes in a tile of the stream."""
        self._unmixed.append(self._read.at(x, rotary))

    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the output of the training path, over the ring and the new tokens."""
        q, new_k, new_v = (joined(list(parts)) for parts in zip(*self._unmixed, strict=True))
        self._unmixed = []
        earlier = self._ring[:, 0, self._places(self._tokens, self._mix.window - 1)]
        k, v = (torch.cat([earlier[:, :, turn], new], dim=1) for turn, new in enumerate((new_k, new_v)))
        out, _ = attention_with_log_sum_exp(
            q,
            k,
            v,
            torch.zeros(1, 1, 1, dtype=torch.int32, device=q.device).expand(q.shape[0], 1, k.shape[1]),
            window=self._mix.window,
            scale=self._mix.temperature(),
            sink=self._mix.sink,
            include_self=True,
            block=self._mix.block,
        )
        self._tokens += q.shape[1]
        places = self._places(self._tokens, min(self._mix.window, q.shape[1]))
        self._ring[:, 0, places] = torch.stack([new_k, new_v], dim=2)[:, -len(places) :]
        return out

    def step(self, x: Float[Tensor, "samples d_model"], rotary: Rotary) -> Float[Tensor, "heads samples head_dim"]:
        """Returns the output of one token of each sample."""
        if one_token.can_be_compiled(self._ring):
            return self._compiled_step(self._read.project(self._read.norm(x)), rotary)
        q, k, v = self._read.at(x, rotary)
        place = self._tokens % self._mix.window
        self._ring[:, :, place, 0] = k
        self._ring[:, :, place, 1] = v
        self._tokens += 1
        held = self._ring[:, :, : self._tokens]
        return one_query_attention(
            q, held[..., 0, :], held[..., 1, :], scale=self._mix.temperature(), sink=self._mix.sink
        )

    def _compiled_step(
        self, projected: Float[Tensor, "samples three_d_model"], rotary: Rotary
    ) -> Float[Tensor, "heads samples head_dim"]:
        position, self._tokens = self._tokens, self._tokens + 1
        return one_token.local_layer_token(
            projected,
            rotary.cosine,
            rotary.sine,
            ring=self._ring,
            position=position,
            scale=self._mix.temperature(),
            sink=self._mix.sink,
        )

    def fork(self, samples: int) -> None:
        """Gives each sample a ring of its own."""
        self._ring = self._ring.repeat(1, samples, 1, 1, 1)

    def tensors(self) -> list[Tensor]:
        """Returns the ring."""
        return [self._ring]

    def _places(self, stop: int, most: int) -> Int[Tensor, "some"]:
        """Returns where the last tokens before a position stand, the oldest first."""
        return torch.arange(max(stop - most, 0), stop, device=self._ring.device) % self._mix.window
