"""Hash attention: the window is the most recent earlier tokens in the same bucket, with values from their successors.

Decoding caches all keys and values, and a token attends to the last few of its buckets: `rounds * window` keys per
head, whatever the length. A token enters the rings when the next one arrives, since only then is its value complete,
with its successor's part; so no token sees itself.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.model.kinds.kind import Kind
from revlm.model.parts.cache import Cache
from revlm.model.parts.context import Context, LayerStatistics
from revlm.model.parts.heads import Rotary, Temperature, WriteHeads, memory_of_writing, split_heads
from revlm.model.parts.keys_values import KeysValues
from revlm.model.parts.memory import (
    FULL_BYTES,
    AttentionMemory,
    LayerSizes,
    MixMemory,
    StageMemory,
    Weights,
    gradients_lie_over_inputs,
    normalizing_bytes,
    stage_memory,
)
from revlm.model.parts.norm import RMSNorm
from revlm.model.parts.rings import Rings
from revlm.model.parts.sublayer import Mix, Read, Sublayer
from revlm.model.shape import buckets_of_rounds
from revlm.ops.attention import attention_with_log_sum_exp, bucket_statistics, one_token, workspace_bytes
from revlm.ops.attention.one_query import one_query_attention
from revlm.ops.hashing import HashOfFew, hash_buckets
from revlm.ops.hashing.reference import TILE as HASH_TILE
from revlm.ops.normalization import unit_heads
from revlm.recipe import Model as ModelRecipe


class ReadKeysValues(Read):
    """One shared projection for queries and keys, and values of each token and its successor.

    A language model wants to know what followed an earlier similar token, so the value of s is
    `W_v x[s] + W_n x[s + 1]`. Token t sees only s < t, so s + 1 <= t: attention stays causal. The last token of a
    document has no successor.
    """

    lookahead = 1

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        self.n_heads = recipe.n_heads
        self.norm = RMSNorm(recipe.d_model)
        self.project = nn.Linear(recipe.d_model, 2 * recipe.d_model, bias=False)
        self.successor = nn.Linear(recipe.d_model, recipe.d_model, bias=False) if recipe.successor_values else None

    def forward(self, x: Float[Tensor, "longer_tile d_model"], context: Context, span: slice) -> tuple[Tensor, Tensor]:
        """Returns k, v [heads, tile, head_dim]."""
        length, normed = span.stop - span.start, self.norm(x)
        k, v = self.own(normed[:length])
        if self.successor is not None:
            v = self.with_successors(v, self._following(normed, context, span))
        return unit_heads(k, self.n_heads, v.dtype), split_heads(v, self.n_heads)

    def own(self, normed: Float[Tensor, "tile d_model"]) -> tuple[Tensor, Tensor]:
        """Returns the keys, not normalized, and the values without successors of normed tokens, [tile, d_model]."""
        k, v = self.project(normed).chunk(2, dim=-1)
        return k, v

    def with_successors(
        self, v: Float[Tensor, "tile d_model"], following: Float[Tensor, "tile d_model"]
    ) -> Float[Tensor, "tile d_model"]:
        """Returns values plus the projection of the following normed tokens; `v` itself without `successor_values`."""
        return v if self.successor is None else torch.addmm(v, following, self.successor.weight.T)

    @staticmethod
    def _following(
        normed: Float[Tensor, "longer_tile d_model"], context: Context, span: slice
    ) -> Float[Tensor, "tile d_model"]:
        """Returns the token after each one, zero after the last one of a document."""
        following = normed[1:]
        if not context.ends_within(span):
            return following
        document_ids = context.document_ids[span.start : span.stop + 1]
        continues = (document_ids[1:] == document_ids[:-1])[:, None]
        return nn.functional.pad(following * continues, (0, 0, 0, span.stop - span.start - len(following)))


class HashAttention(Mix):
    """Bucketed window attention with pairs (document, hash) as buckets; queries are keys, and no token sees itself."""

    def __init__(self, recipe: ModelRecipe, layer: int) -> None:
        super().__init__()
        self.window, self.block = recipe.window, recipe.attention_block
        self.n_buckets, self.layer = buckets_of_rounds(recipe), layer
        self.temperature = Temperature(recipe.n_heads)
        self.sink = nn.Parameter(torch.zeros(recipe.n_heads))

    def forward(self, *read: Tensor, context: Context) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output from k, v [heads, tokens, head_dim]."""
        k, v = read
        bucket = self.buckets(k.detach(), context)
        out, log_sum_exp = attention_with_log_sum_exp(
            k,
            k,
            v,
            bucket,
            window=self.window,
            scale=self.temperature(),
            sink=self.sink,
            include_self=False,
            block=self.block,
            may_overwrite=True,
        )
        if context.statistics is not None and self.layer not in context.statistics:
            context.statistics[self.layer] = self._statistics(bucket, log_sum_exp)
        return out

    def buckets(
        self, k: Float[Tensor, "heads tokens head_dim"], context: Context
    ) -> Int[Tensor, "heads rounds tokens"]:
        """Returns the bucket of each key, the number of its pair (document, hash)."""
        hashed = hash_buckets(k, context.rotations(self.layer), self.n_buckets)
        return hashed.add_(context.document_ids.int() * max(self.n_buckets))

    @torch.no_grad()
    def _statistics(
        self, bucket: Int[Tensor, "heads rounds tokens"], log_sum_exp: Float[Tensor, "heads tokens"]
    ) -> LayerStatistics:
        sink_share = float(torch.exp(self.sink[:, None] - log_sum_exp).mean())
        return LayerStatistics(*bucket_statistics(bucket, self.window), sink_share)


def layer(recipe: ModelRecipe, number: int) -> Sublayer:
    """Returns the hash attention sublayer that a recipe describes; `number` is its layer in the model."""
    return Sublayer(
        read=ReadKeysValues(recipe),
        mix=HashAttention(recipe, number),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )


class HashCache(Cache):
    """Keys and values by slot, and rings of slots by bucket."""

    def __init__(
        self,
        read: ReadKeysValues,
        mix: HashAttention,
        rotations: Float[Tensor, "heads head_dim directions"],
        dtype: torch.dtype,
    ) -> None:
        self._read, self._mix, self._rotations = read, mix, rotations
        heads, head_dim, _ = rotations.shape
        self._kept = KeysValues(heads, head_dim, dtype, rotations.device)
        self._rings = Rings(heads, mix.n_buckets, mix.window, rotations.device)
        self._hash_few = HashOfFew(rotations, mix.n_buckets)
        self._unmixed = 0

    def reserve(self, tokens: int) -> None:
        """Allocates memory for `tokens` more tokens."""
        self._kept.reserve(tokens)

    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Adds the next tile of the stream; the value of its last token lacks the successor."""
        normed = self._read.norm(x)
        self._complete_latest(normed[:1])
        k, v = self._read.own(normed)
        v = self._read.with_successors(v, torch.nn.functional.pad(normed[1:], (0, 0, 0, 1)))
        self._append(k, v)
        self._unmixed += x.shape[0]

    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the new tokens' output, by the operation of training, over their buckets' rings and themselves."""
        queries, self._unmixed = self._unmixed, 0
        records = self._kept.records
        bucket = hash_buckets(records[-queries:, :, 0].transpose(0, 1), self._rotations, self._mix.n_buckets)
        # The token before them is in no ring yet; it is pushed with them, all but the last.
        waiting, pending = bucket, 0
        if self.latest_bucket is not None:
            waiting, pending = torch.cat([self.latest_bucket.transpose(1, 2).int(), bucket], dim=-1), 1
        first_slot = self._kept.slots - queries - pending
        out = torch.empty(bucket.shape[0], queries, records.shape[-1], dtype=records.dtype, device=records.device)
        for head in range(bucket.shape[0]):
            slots, earlier = self._earlier(head, bucket[head])
            run = torch.arange(first_slot, self._kept.slots, device=slots.device)
            found = records[torch.cat([slots, run]), head]
            k, v = found[None, :, 0], found[None, :, 1]
            out[head : head + 1] = attention_with_log_sum_exp(
                k[:, -queries:],
                k,
                v,
                torch.cat([earlier, waiting[head]], dim=-1)[None],
                window=self._mix.window,
                scale=self._mix.temperature()[head : head + 1],
                sink=self._mix.sink[head : head + 1],
                include_self=False,
                block=self._mix.block,
            )[0]
        self._rings.push_run(waiting[..., :-1], first_slot)
        self.latest_bucket = bucket[..., -1:].transpose(1, 2).long()
        return out

    def step(self, x: Float[Tensor, "samples d_model"], rotary: Rotary) -> Float[Tensor, "heads samples head_dim"]:
        """Returns the output of each sample's next token."""
        normed = self._read.norm(x)
        self._complete_latest(normed)
        if one_token.can_be_compiled(self._kept.records):
            return self._compiled_step(self._read.project(normed))
        if self.latest_bucket is not None:
            self._rings.push(self._rings.rows(self.latest_bucket), self._kept.latest_slots)
        k, v = self._read.own(normed)
        q = self._append(k, v)
        self.latest_bucket = bucket = self._hash_few(q)
        slots = self._rings.of_rows(self._rings.rows(bucket)).flatten(2).sort(-1).values
        visible = slots > 0
        visible[..., 1:] &= slots[..., 1:] != slots[..., :-1]  # a token found in several rounds counts once
        found = self._kept.gather(slots.flatten(1)).unflatten(1, slots.shape[1:])
        return one_query_attention(
            q,
            found[..., 0, :],
            found[..., 1, :],
            visible=visible,
            scale=self._mix.temperature(),
            sink=self._mix.sink,
        )

    def _compiled_step(
        self, projected: Float[Tensor, "samples two_d_model"]
    ) -> Float[Tensor, "heads samples head_dim"]:
        first_slot = self._kept.allocate(projected.shape[0])
        out, self.latest_bucket = one_token.hash_layer_token(
            projected,
            self.latest_bucket,
            hash_few=self._hash_few,
            records=self._kept.records,
            first_slot=first_slot,
            rings=self._rings.slots,
            scale=self._mix.temperature(),
            sink=self._mix.sink,
        )
        return out

    def fork(self, samples: int) -> None:
        """Copies the rings and the latest token for each sample; the rest is shared."""
        self._kept.fork(samples)
        self._rings.fork(samples)
        if self.latest_bucket is not None:
            self.latest_bucket = self.latest_bucket.expand(-1, samples, -1)

    def tensors(self) -> list[Tensor]:
        """Returns the keys and values, and the rings."""
        return [*self._kept.tensors(), *self._rings.tensors()]

    def _append(
        self, k: Float[Tensor, "new d_model"], v: Float[Tensor, "new d_model"]
    ) -> Float[Tensor, "heads new head_dim"]:
        """Caches new tokens; returns their keys, which are also their queries."""
        unit = unit_heads(k, self._read.n_heads, v.dtype)
        self._kept.append(unit, split_heads(v, self._read.n_heads))
        return unit

    def _complete_latest(self, following: Float[Tensor, "samples d_model"]) -> None:
        """Adds the successor's part to the values of the latest tokens."""
        if self._kept.tokens > 0 and self._read.successor is not None:
            v = self._kept.latest[:, :, 1]
            v.copy_(self._read.with_successors(v.flatten(1), following).view_as(v))

    def _earlier(
        self, head: int, bucket: Int[Tensor, "rounds tokens"]
    ) -> tuple[Int[Tensor, "some"], Int[Tensor, "rounds some"]]:
        """Returns the sorted slots in the rings of the new tokens' buckets, and the bucket of each slot in each round.

        Where a slot is in none of these buckets in a round, its bucket there is one that no round has: it matches none.
        """
        none = max(self._mix.n_buckets)
        table = torch.full((bucket.shape[0], self._kept.slots), none, dtype=torch.int32, device=bucket.device)
        for round_, of_round in enumerate(bucket):
            hit = of_round.unique()
            slots = self._rings.of_buckets(head, round_, hit)
            table[round_].index_put_((slots.long(),), hit[:, None].expand_as(slots))
        table[:, 0] = none
        slots = (table != none).any(0).nonzero()[:, 0]
        return slots, table[:, slots]


def cache(sublayer: Sublayer, rotations: Tensor | None, dtype: torch.dtype) -> HashCache:
    """Returns an empty cache for a sublayer with its rotations, with keys and values in `dtype`."""
    assert isinstance(sublayer.read, ReadKeysValues)
    assert isinstance(sublayer.mix, HashAttention)
    assert rotations is not None
    return HashCache(sublayer.read, sublayer.mix, rotations, dtype)


def memory(sizes: LayerSizes, weights: Weights) -> AttentionMemory:
    """Returns the bytes of one sublayer in a training step."""
    return AttentionMemory(
        read=_memory_of_reading(sizes, weights.read_matrices),
        mix=_memory_of_mixing(sizes),
        write=memory_of_writing(sizes, weights.write_matrices),
    )


def _memory_of_reading(sizes: LayerSizes, matrices: int) -> StageMemory:
    d, p = sizes.d_model, sizes.product_bytes
    # Values with successors are a new tensor; without them they are a view of the projection.
    summed = p * d if sizes.successor_values else 0
    # The stream, the normed stream, the projection, the values, the keys.
    graph = 4 * d + p * d + 2 * p * d + summed + p * d
    return stage_memory(
        sizes,
        matrices=matrices,
        forward=graph,
        left=4 * d + p * d + (summed or 2 * p * d),
        graph=graph,
        backward=(16 if p == 4 else 12) * d,
        extra=normalizing_bytes(sizes),
    )


def _memory_of_mixing(sizes: LayerSizes) -> MixMemory:
    forward, backward = (
        workspace_bytes(
            rows=sizes.n_heads,
            tokens=sizes.tokens,
            head_dim=sizes.head_dim,
            rounds=sizes.n_rounds,
            window=sizes.window,
            block=sizes.block,
            element_bytes=sizes.product_bytes,
            backward=backward,
            device_kind=sizes.device_kind,
            queries_are_keys=True,
        )
        for backward in (False, True)
    )
    whole = sizes.product_hidden_bytes
    # The log-sum-exp and the buckets.
    saved = FULL_BYTES * sizes.n_heads * sizes.tokens + 4 * sizes.n_heads * sizes.n_rounds * sizes.tokens
    over = gradients_lie_over_inputs(sizes, sizes.n_rounds)
    by_pytorch = not over and not sizes.compiled
    # Queries are keys: PyTorch's operations return a gradient for each, which are then summed.
    hashing = min(sizes.tokens, HASH_TILE) * (
        FULL_BYTES * sizes.d_model + sizes.n_heads * (FULL_BYTES * sizes.directions + 60 * sizes.n_rounds)
    )
    return MixMemory(
        read=2 * whole,
        mixed=whole,
        saved=saved,
        made=0 if over else 3 * whole if by_pytorch else 2 * whole,
        summed=whole if by_pytorch else 0,
        gradients=0 if over else 2 * whole,
        overwritten=2 * whole if over else 0,
        forward_workspace=max(forward, hashing) if by_pytorch else forward,
        backward_workspace=backward,
    )


LSH = Kind(layer=layer, cache=cache, memory=memory, hashes=True)
