"""Hash attention: the window is the most recent earlier tokens in the same bucket, with values from their successors.

Decoding caches all keys and values, and a token attends to the last few of its buckets: `rounds * window` keys per
head, whatever the length. A token enters the rings when the next one arrives, since only then is its value complete,
with its successor's part; so no token sees itself.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.model.kinds.kind import Kind
from revlm.model.parts.context import Context
from revlm.model.parts.flops import flops_of_pairs, pairs_in_window
from revlm.model.parts.heads import Rotary, Temperature, WriteHeads, memory_of_writing
from revlm.model.parts.memory import (
    FULL_BYTES,
    AttentionMemory,
    LayerSizes,
    MixMemory,
    Weights,
    gradients_lie_over_inputs,
)
from revlm.model.parts.predecessors import Predecessors, with_predecessors
from revlm.model.parts.rings import Rings
from revlm.model.parts.sublayer import ALL_HEADS, Mix, Sublayer
from revlm.model.parts.successors import ReadKeysValues, SuccessorCache, memory_of_reading_keys
from revlm.model.parts.whitening import second_moments
from revlm.model.shape import buckets_of_rounds
from revlm.ops.attention import Delta, attention_with_log_sum_exp, bucket_statistics, one_token, workspace_bytes
from revlm.ops.attention.one_query import one_query_attention
from revlm.ops.hashing import HashOfFew, directions_of, hash_buckets, pair_hashes
from revlm.ops.hashing.reference import TILE as HASH_TILE
from revlm.recipe import Model as ModelRecipe


class HashAttention(Mix):
    """Bucketed window attention inside a hash of a document; queries are keys, and no token sees itself."""

    takes_delta = True

    def __init__(self, recipe: ModelRecipe, layer: int) -> None:
        super().__init__()
        self.window, self.block = recipe.window, recipe.attention_block
        self.layer = layer
        self.hash_as(recipe)
        self.predecessors = Predecessors(recipe.n_heads) if recipe.predecessor_keys else None
        self.temperature = Temperature(recipe.n_heads)
        self.sink = nn.Parameter(torch.zeros(recipe.n_heads))

    def hash_as(self, recipe: ModelRecipe) -> None:
        """Takes a recipe's rounds of hashing."""
        self.n_buckets, self.pair_rounds = buckets_of_rounds(recipe), recipe.pair_rounds

    def forward(
        self, *read: Tensor, context: Context, heads: slice = ALL_HEADS, delta: Delta | None = None
    ) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output from k, v [heads, tokens, head_dim]."""
        k, v = self.keys(read[0], context, heads), read[1]
        bucket, sink = self.buckets(k.detach(), context, heads), self.sink[heads]
        place = self.layer, heads.start or 0
        if context.key_moments is not None and (strided := (*place, heads.step or 1)) not in context.key_moments:
            context.key_moments[strided] = second_moments(k.detach())
        out, log_sum_exp = attention_with_log_sum_exp(
            k,
            k,
            v,
            bucket,
            window=self.window,
            scale=self.temperature()[heads],
            sink=sink,
            include_self=False,
            block=self.block,
            may_overwrite=True,
            delta=delta,
        )
        if context.statistics is not None and place not in context.statistics:
            n_numbers = context.n_document_numbers * max(self.n_buckets)
            context.statistics[place] = self._statistics(bucket, log_sum_exp, sink, n_numbers)
        return out

    def keys(
        self, k: Float[Tensor, "heads tokens head_dim"], context: Context, heads: slice = ALL_HEADS
    ) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the keys that are hashed and weighed: with `predecessor_keys`, those with the predecessors'."""
        return k if self.predecessors is None else self.predecessors(k, context, heads)

    def buckets(
        self, k: Float[Tensor, "heads tokens head_dim"], context: Context, heads: slice = ALL_HEADS
    ) -> Int[Tensor, "heads rounds tokens"]:
        """Returns the bucket of each key, which is the number of its document and its hash together."""
        hashes = hash_buckets(k, context.rotations(self.layer)[heads], self.n_buckets)
        if self.pair_rounds:
            pair_hashes(hashes, self.n_buckets, self.pair_rounds, context.starts)
        return hashes.add_(context.document_ids.int() * max(self.n_buckets))

    @torch.no_grad()
    def _statistics(
        self,
        bucket: Int[Tensor, "heads rounds tokens"],
        log_sum_exp: Float[Tensor, "heads tokens"],
        sink: Float[Tensor, "heads"],
        n_numbers: int,
    ) -> Float[Tensor, "3"]:
        """Returns the numbers of `LayerStatistics`."""
        sink_share = torch.exp(sink[:, None] - log_sum_exp).mean()
        return torch.stack([*bucket_statistics(bucket, self.window, n_numbers), sink_share.double()])


def layer(recipe: ModelRecipe, number: int) -> Sublayer:
    """Returns the hash attention sublayer that a recipe describes; `number` is its layer in the model."""
    return Sublayer(
        read=ReadKeysValues(recipe),
        mix=HashAttention(recipe, number),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )


class HashCache(SuccessorCache):
    """Keys and values by slot, and rings of slots by bucket."""

    def __init__(
        self,
        read: ReadKeysValues,
        mix: HashAttention,
        rotations: Float[Tensor, "heads head_dim directions"],
        dtype: torch.dtype,
    ) -> None:
        super().__init__(read, mix.predecessors, dtype)
        self._mix, self._rotations = mix, rotations
        self._rings = Rings(read.n_heads, mix.n_buckets, mix.window, rotations.device)
        self._hash_few = HashOfFew(rotations, mix.n_buckets)
        # The hashes of each sample's latest token, with which the next one makes pairs.
        latest_hash = torch.zeros(read.n_heads, 1, len(mix.n_buckets), dtype=torch.int64, device=rotations.device)
        self._latest_hash = latest_hash if mix.pair_rounds else None

    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the new tokens' output, by the operation of training, over their buckets' rings and themselves."""
        queries = self._take_unmixed()
        records = self._kept.records
        hashes = hash_buckets(records[-queries:, :, 0].transpose(0, 1), self._rotations, self._mix.n_buckets)
        bucket = self._paired(hashes[:, None])[:, 0]
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
            self._rings.push(self.latest_bucket, self._kept.latest_slots)
        q = self._append_each(*self._read.own(normed))
        self.latest_bucket = bucket = self._paired(self._hash_few(q)[..., None])[..., 0]
        slots = self._rings.of_buckets(bucket).flatten(2).sort(-1).values
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
        self._rings.reserve()
        first_slot = self._kept.allocate(projected.shape[0])
        out, self.latest_bucket, self._rings.made = one_token.hash_layer_token(
            projected,
            self.latest_bucket,
            hash_few=self._hash_few,
            records=self._kept.records,
            first_slot=first_slot,
            rings=self._rings.slots,
            ring_of=self._rings.ring_of,
            made=self._rings.made,
            scale=self._mix.temperature(),
            sink=self._mix.sink,
            pair_rounds=self._mix.pair_rounds,
            latest_hash=self._latest_hash,
            latest_key=self.latest_key,
            predecessor_weight=None if self._mix.predecessors is None else self._mix.predecessors.weight,
        )
        return out

    def fork(self, samples: int) -> None:
        """Copies the rings and the latest token for each sample; the rest is shared."""
        super().fork(samples)
        self._rings.fork(samples)
        if self.latest_bucket is not None:
            self.latest_bucket = self.latest_bucket.expand(-1, samples, -1)
        if self._latest_hash is not None:
            self._latest_hash = self._latest_hash.repeat(1, samples, 1)

    def tensors(self) -> list[Tensor]:
        """Returns the keys and values, and the rings."""
        return [*super().tensors(), *self._rings.tensors()]

    def _paired(self, hashes: Int[Tensor, "heads samples rounds tokens"]) -> Int[Tensor, "heads samples rounds tokens"]:
        """Returns the buckets of each sample's next tokens from their hashes."""
        if self._latest_hash is None:
            return hashes
        run = torch.cat([self._latest_hash[..., None].to(hashes), hashes], dim=-1)
        self._latest_hash = hashes[..., -1].long()
        return pair_hashes(run.flatten(0, 1), self._mix.n_buckets, self._mix.pair_rounds).view_as(run)[..., 1:]

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
            slots = self._rings.of_round(head, round_, hit)
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


def flops(recipe: ModelRecipe, tokens: int) -> int:
    """Returns the FLOPs of one layer's attention over a document.

    Each query has the windows of all rounds, the most that it can have: how many it has depends on the buckets. The
    hashes are products of keys with random directions, which have no gradient.
    """
    pairs = pairs_in_window(tokens - 1, recipe.n_rounds * recipe.window)
    hashing = 2 * recipe.d_model * directions_of(buckets_of_rounds(recipe)) * tokens
    return flops_of_pairs(recipe.d_model, pairs) + hashing


def memory(sizes: LayerSizes, weights: Weights) -> AttentionMemory:
    """Returns the bytes of one sublayer in a training step."""
    return AttentionMemory(
        read=memory_of_reading_keys(sizes, weights.read_matrices),
        mix=_memory_of_mixing(sizes),
        write=memory_of_writing(sizes, weights.write_matrices),
    )


def _memory_of_mixing(sizes: LayerSizes) -> MixMemory:
    forward, backward = (
        workspace_bytes(
            rows=sizes.own_heads,
            tokens=sizes.all_tokens,
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
    whole = sizes.heads_bytes
    # The log-sum-exp and the buckets.
    saved = (FULL_BYTES + 4 * sizes.n_rounds) * sizes.own_heads * sizes.all_tokens
    over = gradients_lie_over_inputs(sizes, sizes.n_rounds)
    by_pytorch = not over and not sizes.compiled
    # Queries are keys: PyTorch's operations return a gradient for each, which are then summed.
    own_width = sizes.own_heads * sizes.head_dim
    hashing = min(sizes.all_tokens, HASH_TILE) * (
        FULL_BYTES * own_width + sizes.own_heads * (FULL_BYTES * sizes.directions + 60 * sizes.n_rounds)
    )
    mix = MixMemory(
        read=2 * whole,
        mixed=whole,
        saved=saved,
        d_mixed=0,
        delta=FULL_BYTES * sizes.heads_at_a_time * sizes.tokens,
        made=0 if over else 3 * whole if by_pytorch else 2 * whole,
        summed=whole if by_pytorch else 0,
        gradients=0 if over else 2 * whole,
        overwritten=2 * whole if over else 0,
        forward_workspace=max(forward, hashing if by_pytorch else 0),
        backward_workspace=backward,
    ).of_heads(sizes)
    return with_predecessors(mix, sizes)


LSH = Kind(layer=layer, cache=cache, memory=memory, flops=flops, reads_all=True, hashes=True)
