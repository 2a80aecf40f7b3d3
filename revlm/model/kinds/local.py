"""Local attention: the window is the token itself and the tokens just before it in its document."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.model.kinds.kind import Kind
from revlm.model.parts.cache import Cache, joined
from revlm.model.parts.context import Context
from revlm.model.parts.flops import flops_of_pairs, pairs_in_window
from revlm.model.parts.heads import (
    ReadQueriesKeysValues,
    Rotary,
    Temperature,
    WriteHeads,
    memory_of_reading,
    memory_of_writing,
)
from revlm.model.parts.memory import (
    FULL_BYTES,
    AttentionMemory,
    LayerSizes,
    MixMemory,
    Weights,
    gradients_lie_over_inputs,
)
from revlm.model.parts.sublayer import ALL_HEADS, Mix, Sublayer
from revlm.ops.attention import Delta, attention_with_log_sum_exp, one_token, workspace_bytes
from revlm.ops.attention.one_query import one_query_attention
from revlm.recipe import Model as ModelRecipe


class LocalAttention(Mix):
    """Bucketed window attention with the document as the only bucket."""

    takes_delta = True

    def __init__(self, n_heads: int, window: int, block: int) -> None:
        super().__init__()
        self.window, self.block = window, block
        self.rows_before = rows_before(window, block)
        self.temperature = Temperature(n_heads)
        self.sink = nn.Parameter(torch.zeros(n_heads))

    def forward(
        self, *read: Tensor, context: Context, heads: slice = ALL_HEADS, delta: Delta | None = None
    ) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output from q, k, v [heads, tokens, head_dim]."""
        q, k, v = read
        bucket = context.document_ids[None, None].expand(q.shape[0], 1, -1)
        return attention_with_log_sum_exp(
            q,
            k,
            v,
            bucket,
            window=self.window,
            scale=self.temperature()[heads],
            sink=self.sink[heads],
            include_self=True,
            block=self.block,
            may_overwrite=True,
            delta=delta,
        )[0]


def rows_before(window: int, block: int) -> int:
    """Returns how many tokens before a run of them its attention needs.

    They are whole blocks, so that it works on the same blocks as the attention over all tokens.
    """
    return -(-(window - 1) // block) * block


def layer(recipe: ModelRecipe, number: int) -> Sublayer:
    """Returns the local attention sublayer that a recipe describes."""
    return Sublayer(
        read=ReadQueriesKeysValues(recipe.d_model, recipe.n_heads),
        mix=LocalAttention(recipe.n_heads, recipe.window, recipe.attention_block),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )


class LocalCache(Cache):
    """A ring buffer of keys and values: the token at position p has index p modulo the window.

    It grows with the text until it holds a window.
    """

    def __init__(self, read: ReadQueriesKeysValues, mix: LocalAttention, dtype: torch.dtype) -> None:
        self._read, self._mix = read, mix
        device = mix.sink.device
        self._ring = torch.zeros(read.n_heads, 1, 0, 2, read.head_dim, dtype=dtype, device=device)
        self._tokens = 0
        self._unmixed: list[tuple[Tensor, ...]] = []

    def reserve(self, tokens: int) -> None:
        """Gives the ring room for `tokens` more tokens, or for a window of them."""
        held, room = self._ring.shape[2], min(self._tokens + tokens, self._mix.window)
        if room > held:
            more = self._ring.new_zeros(
                *self._ring.shape[:2], min(max(room, 2 * held), self._mix.window) - held, *self._ring.shape[3:]
            )
            self._ring = torch.cat([self._ring, more], dim=2)

    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Adds the next tile of the stream."""
        self._unmixed.append(self._read.at(x, rotary))

    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the output of the new tokens, by the operation of training, over the ring and these tokens."""
        q, new_k, new_v = (joined(list(parts)) for parts in zip(*self._unmixed, strict=True))
        self._unmixed = []
        self.reserve(q.shape[1])
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
        """Returns the output of each sample's next token."""
        self.reserve(1)
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
        """Returns the ring indices of the last `most` tokens before position `stop`, oldest first."""
        return torch.arange(max(stop - most, 0), stop, device=self._ring.device) % self._mix.window


def cache(sublayer: Sublayer, rotations: Tensor | None, dtype: torch.dtype) -> LocalCache:
    """Returns an empty cache for a sublayer, with keys and values in `dtype`."""
    assert isinstance(sublayer.read, ReadQueriesKeysValues)
    assert isinstance(sublayer.mix, LocalAttention)
    return LocalCache(sublayer.read, sublayer.mix, dtype)


def flops(recipe: ModelRecipe, tokens: int) -> int:
    """Returns the FLOPs of one layer's attention over a document: each query has a window of keys, its own included."""
    return flops_of_pairs(recipe.d_model, pairs_in_window(tokens, recipe.window))


def memory(sizes: LayerSizes, weights: Weights) -> AttentionMemory:
    """Returns the bytes of one sublayer in a training step."""
    before = min(rows_before(sizes.window, sizes.block), sizes.all_tokens - sizes.tokens)
    forward, backward = (
        workspace_bytes(
            rows=sizes.heads_at_a_time,
            tokens=sizes.tokens + before,
            head_dim=sizes.head_dim,
            rounds=1,
            window=sizes.window,
            block=sizes.block,
            element_bytes=sizes.product_bytes,
            backward=backward,
            device_kind=sizes.device_kind,
        )
        for backward in (False, True)
    )
    whole, over = sizes.heads_bytes, gradients_lie_over_inputs(sizes, 1)
    of_rows_before = 2 * before * sizes.product_bytes * sizes.width  # of keys and values
    read = 3 * whole + of_rows_before
    mix = MixMemory(
        read=read,
        mixed=whole,
        saved=FULL_BYTES * sizes.heads_at_a_time * sizes.tokens,  # the log-sum-exp
        d_mixed=0,
        delta=FULL_BYTES * sizes.heads_at_a_time * sizes.tokens,
        made=0 if over else read,
        summed=0,
        gradients=0 if over else read,
        overwritten=read if over else 0,
        forward_workspace=forward,
        backward_workspace=backward,
        sent_read=of_rows_before,
        exchanged=whole if before else 0,
    )
    return AttentionMemory(
        read=memory_of_reading(sizes, weights.read_matrices),
        mix=mix,
        write=memory_of_writing(sizes, weights.write_matrices),
    )


LOCAL = Kind(layer=layer, cache=cache, memory=memory, flops=flops)
