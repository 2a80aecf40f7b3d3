"""Exact attention, for comparison: per document, with memory linear and time quadratic in its length.

With `successor_values` it is the rival of hash attention: the same keys, values and sink, and every earlier token in
place of those that the hashes find. Without, it is a plain transformer's: separate queries, rotary positions, keys
without predecessors, and every token sees itself.
"""

import torch
from jaxtyping import Float
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
from revlm.model.parts.keys_values import KeysValues
from revlm.model.parts.memory import FULL_BYTES, AttentionMemory, LayerSizes, MixMemory, Weights
from revlm.model.parts.predecessors import Predecessors, with_predecessors
from revlm.model.parts.sublayer import ALL_HEADS, Mix, Sublayer
from revlm.model.parts.successors import ReadKeysValues, SuccessorCache, memory_of_reading_keys
from revlm.ops.attention import Delta
from revlm.ops.attention.exact import SINK_WIDTH, exact_attention
from revlm.recipe import Model as ModelRecipe


class FullAttention(Mix):
    """Attention over all earlier tokens of the document, with a sink; without one also over the token itself."""

    def __init__(self, n_heads: int, *, with_sink: bool, with_predecessors: bool = False) -> None:
        super().__init__()
        self.predecessors = Predecessors(n_heads) if with_predecessors else None
        self.temperature = Temperature(n_heads)
        self.sink = nn.Parameter(torch.zeros(n_heads)) if with_sink else None

    def forward(
        self, *read: Tensor, context: Context, heads: slice = ALL_HEADS, delta: Delta | None = None
    ) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output from q, k, v (or k, v where queries are keys) [heads, tokens, head_dim]."""
        if self.predecessors is not None:
            read = self.predecessors(read[0], context, heads), *read[1:]
        q, k, v = read if len(read) == 3 else (read[0], *read)
        scale, sink = self.temperature()[heads], None if self.sink is None else self.sink[heads]
        lengths = [stop - start for start, stop in context.bounds]
        documents = [
            exact_attention(*of_document, scale=scale, sink=sink)
            for of_document in zip(*(each.split(lengths, dim=1) for each in (q, k, v)), strict=True)
        ]
        return documents[0] if len(documents) == 1 else torch.cat(documents, dim=1)


def layer(recipe: ModelRecipe, number: int) -> Sublayer:
    """Returns the exact attention sublayer that a recipe describes."""
    with_successors = recipe.successor_values
    return Sublayer(
        read=ReadKeysValues(recipe) if with_successors else ReadQueriesKeysValues(recipe.d_model, recipe.n_heads),
        mix=FullAttention(
            recipe.n_heads,
            with_sink=with_successors,
            with_predecessors=with_successors and recipe.predecessor_keys,
        ),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )


class FullSuccessorCache(SuccessorCache):
    """All keys and values with successors; the samples share those from before the fork."""

    def __init__(self, read: ReadKeysValues, mix: FullAttention, dtype: torch.dtype) -> None:
        super().__init__(read, mix.predecessors, dtype)
        self._mix = mix

    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the output of the new tokens over all tokens before them."""
        k, v = self._kept.records[1:].permute(2, 1, 0, 3)
        q = k[:, -self._take_unmixed() :]
        return exact_attention(q, k, v, scale=self._mix.temperature(), sink=self._mix.sink)

    def step(self, x: Float[Tensor, "samples d_model"], rotary: Rotary) -> Float[Tensor, "heads samples head_dim"]:
        """Returns the output of each sample's next token, over the shared keys and the sample's own before it."""
        normed = self._read.norm(x)
        self._complete_latest(normed)
        k, v = self._read.own(normed)
        earlier = self._kept.split()
        return _of_one_token(self._append_each(k, v), *earlier, self._mix)


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
        """Returns the output of the new tokens over all tokens so far."""
        q = joined(self._unmixed)
        self._unmixed = []
        k, v = self._kept.records[1:].permute(2, 1, 0, 3)
        return exact_attention(q, k, v, scale=self._mix.temperature())

    def step(self, x: Float[Tensor, "samples d_model"], rotary: Rotary) -> Float[Tensor, "heads samples head_dim"]:
        """Returns the output of each sample's next token, over the shared keys and the sample's own."""
        q = self._append(x, rotary)
        return _of_one_token(q, *self._kept.split(), self._mix)

    def fork(self, samples: int) -> None:
        """Shares the keys and values so far among the samples."""
        self._kept.fork(samples)

    def tensors(self) -> list[Tensor]:
        """Returns the keys and values."""
        return self._kept.tensors()

    def _append(self, x: Tensor, rotary: Rotary) -> Float[Tensor, "heads new head_dim"]:
        """Caches the keys and values of new tokens; returns their queries."""
        q, k, v = self._read.at(x, rotary)
        self._kept.append(k, v)
        return q


def _of_one_token(
    q: Float[Tensor, "heads samples head_dim"],
    shared: Float[Tensor, "shared heads two head_dim"],
    own: Float[Tensor, "own samples heads two head_dim"],
    mix: FullAttention,
) -> Float[Tensor, "heads samples head_dim"]:
    """Returns the output of one query of each sample, over the shared records and the sample's own."""
    in_full = torch.promote_types(q.dtype, torch.float32)
    (shared_k, shared_v), (own_k, own_v) = shared.permute(2, 1, 0, 3), own.permute(3, 2, 1, 0, 4)
    with torch.autocast(q.device.type, enabled=False):  # autocast would round the logits
        scaled = (q * mix.temperature()[:, None, None]).to(q.dtype).to(in_full)
        logits = [scaled @ shared_k.to(in_full).mT, (scaled[..., None, :] @ own_k.to(in_full).mT)[..., 0, :]]
        if mix.sink is not None:
            logits.append(mix.sink.to(in_full)[:, None, None].expand(*q.shape[:2], 1))
        weights = torch.cat(logits, dim=-1).softmax(-1).split([part.shape[-1] for part in logits], dim=-1)
        out = weights[0] @ shared_v.to(in_full) + (weights[1][..., None, :] @ own_v.to(in_full))[..., 0, :]
    return out.to(q.dtype)


def cache(sublayer: Sublayer, rotations: Tensor | None, dtype: torch.dtype) -> FullCache | FullSuccessorCache:
    """Returns an empty cache for a sublayer, with keys and values in `dtype`."""
    assert isinstance(sublayer.mix, FullAttention)
    if isinstance(sublayer.read, ReadKeysValues):
        return FullSuccessorCache(sublayer.read, sublayer.mix, dtype)
    assert isinstance(sublayer.read, ReadQueriesKeysValues)
    return FullCache(sublayer.read, sublayer.mix, dtype)


def flops(recipe: ModelRecipe, tokens: int) -> int:
    """Returns the FLOPs of one layer's attention over a document: each query has all keys before it, or its own too."""
    queries = tokens - 1 if recipe.successor_values else tokens
    return flops_of_pairs(recipe.d_model, pairs_in_window(queries, queries))


def memory(sizes: LayerSizes, weights: Weights) -> AttentionMemory:
    """Returns the bytes of one sublayer in a training step."""
    with_successors = sizes.successor_values
    return AttentionMemory(
        read=(memory_of_reading_keys if with_successors else memory_of_reading)(sizes, weights.read_matrices),
        mix=_memory_of_mixing_with_sink(sizes) if with_successors else _memory_of_mixing(sizes),
        write=memory_of_writing(sizes, weights.write_matrices),
    )


def _memory_of_mixing(sizes: LayerSizes) -> MixMemory:
    whole = sizes.heads_bytes
    in_full = FULL_BYTES * sizes.tokens * sizes.width if sizes.product_bytes < FULL_BYTES else 0
    # The scaled queries, in full and in product precision; the kernel itself needs little.
    return MixMemory(
        read=3 * whole,
        mixed=whole,
        saved=2 * whole + FULL_BYTES * sizes.own_heads * sizes.all_tokens,
        d_mixed=whole,
        delta=0,
        made=4 * whole + in_full,
        summed=0,
        gradients=3 * whole,
        overwritten=0,
        forward_workspace=in_full,
        backward_workspace=whole,
    ).of_heads(sizes)


def _memory_of_mixing_with_sink(sizes: LayerSizes) -> MixMemory:
    whole = sizes.heads_bytes
    in_full = FULL_BYTES * sizes.tokens * sizes.width if sizes.product_bytes < FULL_BYTES else 0
    wide = whole * (sizes.head_dim + SINK_WIDTH) // sizes.head_dim
    mix = MixMemory(
        read=2 * whole,
        mixed=whole,
        # The wider queries, keys, values and outputs (of one document they hold the mixed values), the log-sum-exp.
        saved=4 * wide - whole + FULL_BYTES * sizes.own_heads * sizes.all_tokens,
        d_mixed=whole,
        delta=0,
        made=3 * wide + whole + in_full,
        summed=whole,
        gradients=2 * whole,
        overwritten=0,
        forward_workspace=0,
        backward_workspace=whole,
    ).of_heads(sizes)
    return with_predecessors(mix, sizes)


FULL = Kind(layer=layer, cache=cache, memory=memory, flops=flops, reads_all=True)
