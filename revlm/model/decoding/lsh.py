"""Decoding of a hash layer: all keys and values are kept, and a token looks at the last few of its buckets.

A token costs `rounds * window` keys a head, whatever the length. It enters the rings when the next one arrives: only
then is its value complete, with its successor, and no token sees itself.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.model.attention.heads import Rotary, split_heads
from revlm.model.attention.lsh import HashAttention, ReadKeysValues
from revlm.model.decoding.cache import Cache
from revlm.model.decoding.keys_values import KeysValues
from revlm.model.decoding.rings import Rings
from revlm.ops.attention import attention_with_log_sum_exp, one_token
from revlm.ops.attention.one_query import one_query_attention
from revlm.ops.hashing import HashOfFew, hash_buckets
from revlm.ops.normalization import unit_heads


class HashCache(Cache):
    """Keys and values by slot, and rings of slots by bucket.

    Attributes:
        latest_bucket: the buckets of the latest token of each sample.
    """

    def __init__(
        self,
        read: ReadKeysValues,
        mix: HashAttention,
        rotations: Float[Tensor, "heads rounds head_dim directions"],
        dtype: torch.dtype,
    ) -> None:
        self._read, self._mix, self._rotations = read, mix, rotations
        heads, rounds, head_dim, _ = rotations.shape
        self._kept = KeysValues(heads, head_dim, dtype, rotations.device)
        self._rings = Rings(heads, rounds, mix.n_buckets, mix.window, rotations.device)
        self._hash_few = HashOfFew(rotations, mix.n_buckets)
        self._unmixed = 0
        self.latest_bucket: Int[Tensor, "heads samples rounds"] | None = None

    def reserve(self, tokens: int) -> None:
        """Makes room for so many more tokens."""
        self._kept.reserve(tokens)

    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Takes in a tile of the stream; the value of its last token lacks the successor."""
        normed = self._read.norm(x)
        self._complete_latest(normed[:1])
        k, v = self._read.own(normed)
        v = self._read.with_successors(v, torch.nn.functional.pad(normed[1:], (0, 0, 0, 1)))
        self._append(k, v)
        self._unmixed += x.shape[0]

    def mix(self) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the output of the training path, over the rings of the new tokens' buckets and over these tokens."""
        queries, self._unmixed = self._unmixed, 0
        records = self._kept.records
        bucket = hash_buckets(records[-queries:, :, 0].transpose(0, 1), self._rotations, self._mix.n_buckets)
        # The token before them is in no ring yet; it goes in with them, all but the last.
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
        """Returns the output of one token of each sample."""
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
        first_slot = self._kept.take(projected.shape[0])
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
        """Gives each sample rings of its own and a latest token of its own; the rest is shared."""
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
        """Keeps new tokens; returns their keys, which are their queries too."""
        unit = unit_heads(k, self._read.n_heads, v.dtype)
        self._kept.append(unit, split_heads(v, self._read.n_heads))
        return unit

    def _complete_latest(self, following: Float[Tensor, "samples d_model"]) -> None:
        """Adds to the values of the latest tokens what the ones that follow bring."""
        if self._kept.tokens > 0 and self._read.successor is not None:
            v = self._kept.latest[:, :, 1]
            v.copy_(self._read.with_successors(v.flatten(1), following).view_as(v))

    def _earlier(
        self, head: int, bucket: Int[Tensor, "rounds tokens"]
    ) -> tuple[Int[Tensor, "some"], Int[Tensor, "rounds some"]]:
        """Returns the slots, in order, in the rings of a run's buckets, and the buckets that these rings stand for.

        Where a slot is in the ring of no such bucket in a round, its bucket there is a number that none has.
        """
        none = self._mix.n_buckets
        table = torch.full((bucket.shape[0], self._kept.slots), none, dtype=torch.int32, device=bucket.device)
        for round_, of_round in enumerate(bucket):
            hit = of_round.unique()
            slots = self._rings.of_buckets(head, round_, hit)
            table[round_].index_put_((slots.long(),), hit[:, None].expand_as(slots))
        table[:, 0] = none
        slots = (table != none).any(0).nonzero()[:, 0]
        return slots, table[:, slots]
