"""Keys that are also queries, and values of tokens and their successors: projection, decoding cache and memory.

Hash layers and exact attention share them, so that they differ only in which keys a query finds.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from revlm.model.parts.cache import Cache
from revlm.model.parts.context import Context
from revlm.model.parts.heads import Rotary
from revlm.model.parts.keys_values import KeysValues
from revlm.model.parts.memory import LayerSizes, StageMemory, normalizing_bytes, stage_memory
from revlm.model.parts.norm import RMSNorm
from revlm.model.parts.predecessors import Predecessors
from revlm.model.parts.sublayer import Read, is_plain
from revlm.ops.fixed_point import StreamTile
from revlm.ops.heads import split_heads
from revlm.ops.predecessor_keys import keys_after, keys_with_predecessors
from revlm.recipe import Model as ModelRecipe


class ReadKeysValues(Read):
    """One shared projection for queries and keys, and values of each token and its successor.

    A language model wants to know what followed an earlier similar token, so the value of s is
    `W_v x[s] + W_n x[s + 1]`. Token t sees only s < t, so s + 1 <= t: attention stays causal. The last token of a
    document has no successor.
    """

    lookahead, results = 1, 2

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        self.n_heads, self.head_dim = recipe.n_heads, recipe.d_model // recipe.n_heads
        self.norm = RMSNorm(recipe.d_model)
        self.project = nn.Linear(recipe.d_model, 2 * recipe.d_model, bias=False)
        self.successor = nn.Linear(recipe.d_model, recipe.d_model, bias=False) if recipe.successor_values else None
        # With predecessors, the lengths of keys weigh them in a sum, which is made a unit vector.
        self._units = 0 if recipe.predecessor_keys else 1

    def readers(self) -> tuple[nn.Linear, ...]:
        """Returns the projections."""
        return (self.project,) if self.successor is None else (self.project, self.successor)

    def forward(
        self,
        x: StreamTile | Float[Tensor, "_ d_model"],
        context: Context,
        span: slice,
        into: Sequence[Tensor] | None = None,
        *,
        only_graph: bool = False,
    ) -> tuple[Tensor, ...]:
        """Returns k, v [heads, tile, head_dim]."""
        normed, length = self.norm(x), span.stop - span.start
        if all(each is None or is_plain(each) for each in (self.project, self.successor)):
            successor = None if self.successor is None else self.successor.weight
            continues = self._continues(context, span)
            projections = _Projections.apply(normed, length, continues, self.project.weight, successor, only_graph)
        elif self.successor is None:
            projections = [self.project(normed[:length])]
        else:
            k, v = self.own(normed[:length])
            following = _following(normed, length, self._continues(context, span))
            projections = [k, self.with_successors(v, following)]
        return self.heads(projections, into, only_graph=only_graph)

    def heads(
        self, projections: Sequence[Tensor], into: Sequence[Tensor] | None = None, *, only_graph: bool = False
    ) -> tuple[Tensor, ...]:
        """Returns k and v [heads, tile, head_dim] from both side by side, or from each of the two.

        Without predecessors, k has unit length.
        """
        width = sum(each.shape[-1] for each in projections) // self.results
        return split_heads(
            projections, width // self.head_dim, width, units=self._units, into=into, only_graph=only_graph
        )

    def own(self, normed: Float[Tensor, "tile d_model"]) -> tuple[Tensor, Tensor]:
        """Returns the keys, not normalized, and the values without successors of normed tokens, [tile, d_model]."""
        k, v = self.project(normed).chunk(2, dim=-1)
        return k, v

    def with_successors(
        self, v: Float[Tensor, "tile d_model"], following: Float[Tensor, "tile d_model"]
    ) -> Float[Tensor, "tile d_model"]:
        """Returns values plus the projection of the following normed tokens; `v` itself without `successor_values`."""
        if self.successor is None:
            return v
        if type(self.successor) is not nn.Linear:  # such as a map with an adapter, which only its own forward applies
            return v + self.successor(following)
        return torch.addmm(v, following, self.successor.weight.T)

    @staticmethod
    def _continues(context: Context, span: slice) -> Bool[Tensor, "tile_or_less 1"] | None:
        """Returns whether each token's document goes on after it; None where that of every token does."""
        if not context.ends_within(span):
            return None
        document_ids = context.document_ids[span.start : span.stop + 1]
        return (document_ids[1:] == document_ids[:-1])[:, None]


def _following(
    normed: Float[Tensor, "rows d_model"], length: int, continues: Bool[Tensor, "tile_or_less 1"] | None
) -> Float[Tensor, "tile d_model"]:
    """Returns the token after each of the first `length` ones, zero after the last one of a document."""
    following = normed[1:]
    if continues is None:
        return following
    return nn.functional.pad(following * continues, (0, 0, 0, length - len(following)))


class _Projections(torch.autograd.Function):
    """The keys, not normalized, and the values with successors of the first `length` rows.

    The gradients of linear maps need no values: with `only_keys` those are not computed, and may be anything.
    """

    @staticmethod
    def forward(
        ctx: Any,
        normed: Tensor,
        length: int,
        continues: Tensor | None,
        weight: Tensor,
        successor: Tensor | None,
        only_keys: bool,
    ) -> tuple[Tensor, Tensor]:
        own, (of_keys, of_values) = normed[:length], weight.chunk(2)
        following = None if successor is None else _following(normed, length, continues)
        # Two products whether or not values are computed, so that the keys have the same bits.
        k = own @ of_keys.T
        if only_keys:
            v = torch.empty_like(k)
        elif successor is None or following is None:
            v = own @ of_values.T
        else:
            v = torch.addmm(own @ of_values.T, following, successor.T)
        ctx.save_for_backward(normed, following, continues, weight, successor)
        return k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_k: Tensor, d_v: Tensor) -> tuple[Tensor | None, ...]:
        normed, following, continues, weight, successor = ctx.saved_tensors
        length, rows = len(d_k), len(normed)
        d_both = d_k.new_empty(rows, weight.shape[0])
        torch.cat([d_k, d_v], dim=-1, out=d_both[:length])
        d_both[length:] = 0
        d_normed = d_both @ weight
        d_weight = d_both[:length].T @ normed[:length] if ctx.needs_input_grad[3] else None
        if successor is None:
            return d_normed, None, None, d_weight, None, None
        d_following = (d_v @ successor)[: rows - 1]
        if continues is not None:
            d_following *= continues
        d_normed[1:] += d_following
        d_successor = d_v.T @ following if ctx.needs_input_grad[4] else None
        return d_normed, None, None, d_weight, d_successor, None


class SuccessorCache(Cache):
    """The keys and values that `ReadKeysValues` reads, by slot.

    The value of the latest token is complete when the next one arrives, with its successor's part; until then no token
    attends to it.

    Attributes:
        latest_key: the key of each sample's latest token, without its predecessor's, where keys have those: zero before
            the first token.
    """

    latest_key: Float[Tensor, "heads samples head_dim"] | None = None

    def __init__(self, read: ReadKeysValues, predecessors: Predecessors | None, dtype: torch.dtype) -> None:
        device = read.project.weight.device
        self._read, self._predecessors = read, predecessors
        self._kept = KeysValues(read.n_heads, read.head_dim, dtype, device)
        self._unmixed = 0
        if predecessors is not None:
            self.latest_key = torch.zeros(read.n_heads, 1, read.head_dim, dtype=dtype, device=device)

    def reserve(self, tokens: int) -> None:
        """Allocates memory for `tokens` more tokens."""
        self._kept.reserve(tokens)

    def read(self, x: Float[Tensor, "tile d_model"], rotary: Rotary) -> None:
        """Adds the next tile of the stream; the value of its last token lacks the successor."""
        normed = self._read.norm(x)
        self._complete_latest(normed[:1])
        k, v = self._read.own(normed)
        v = self._read.with_successors(v, torch.nn.functional.pad(normed[1:], (0, 0, 0, 1)))
        self._append_run(k, v)
        self._unmixed += x.shape[0]

    def fork(self, samples: int) -> None:
        """Shares the keys and values so far among the samples."""
        self._kept.fork(samples)
        if self.latest_key is not None:
            self.latest_key = self.latest_key.repeat(1, samples, 1)

    def tensors(self) -> list[Tensor]:
        """Returns the keys and values."""
        return [*self._kept.tensors(), *([] if self.latest_key is None else [self.latest_key])]

    def _take_unmixed(self) -> int:
        """Returns the number of tokens read since the last call."""
        unmixed, self._unmixed = self._unmixed, 0
        return unmixed

    def _append_run(self, k: Float[Tensor, "new d_model"], v: Float[Tensor, "new d_model"]) -> None:
        """Caches the next tokens of the single sequence."""
        keys, values = self._read.heads([k, v])
        if self._predecessors is not None and self.latest_key is not None:
            with_latest = torch.cat([self.latest_key, keys], dim=1)
            self.latest_key = keys[:, -1:].clone()
            starts = torch.zeros(0, dtype=torch.int64, device=keys.device)
            keys = keys_with_predecessors(with_latest, starts, self._predecessors.weight)[:, 1:]
        self._kept.append(keys, values)

    def _append_each(
        self, k: Float[Tensor, "samples d_model"], v: Float[Tensor, "samples d_model"]
    ) -> Float[Tensor, "heads samples head_dim"]:
        """Caches the next token of each sample; returns their keys, which are also their queries."""
        keys, values = self._read.heads([k, v])
        if self._predecessors is not None and self.latest_key is not None:
            own, keys = keys, keys_after(keys, self.latest_key, self._predecessors.weight)
            self.latest_key = own.contiguous()
        self._kept.append(keys, values)
        return keys

    def _complete_latest(self, following: Float[Tensor, "samples d_model"]) -> None:
        """Adds the successor's part to the values of the latest tokens."""
        if self._kept.tokens > 0 and self._read.successor is not None:
            v = self._kept.latest[:, :, 1]
            v.copy_(self._read.with_successors(v.flatten(1), following).view_as(v))


def memory_of_reading_keys(sizes: LayerSizes, matrices: int) -> StageMemory:
    """Returns the bytes of a tile of `ReadKeysValues`; `matrices` is the number of weights of its matrices."""
    d, w, p = sizes.d_model, sizes.width, sizes.product_bytes
    # Values with successors are a new tensor, beside those without.
    summed = p * w if sizes.successor_values else 0
    return stage_memory(
        sizes,
        matrices=matrices,
        groups=sizes.groups,
        forward=max((4 + p) * d, p * d + 2 * p * w + summed),
        left=0,
        # The values of the stream, the normed stream, the keys, the values with successors.
        graph=4 * d + p * d + 2 * p * w,
        backward=16 * w + 4 * d if p == 4 else 8 * w + 4 * d,
        extra=normalizing_bytes(sizes),
    )
