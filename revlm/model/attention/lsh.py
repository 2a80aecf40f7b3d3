"""Hash attention: the window is the most recent earlier tokens that hash alike, and each brings its successor too."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.model.attention.heads import Temperature, WriteHeads, split_heads
from revlm.model.context import Context, LayerStatistics
from revlm.model.norm import RMSNorm
from revlm.model.sublayer import Mix, Read, Sublayer
from revlm.ops.attention import attention_with_log_sum_exp, bucket_statistics
from revlm.ops.hashing import hash_buckets
from revlm.ops.normalization import unit_heads
from revlm.recipe import Model as ModelRecipe


class ReadKeysValues(Read):
    """One shared projection for queries and keys, and values of each token and its successor.

    What a language model wants from an earlier similar place is what came next, so the value of s is
    `W_v x[s] + W_n x[s + 1]`. A token sees only s < t, so s + 1 <= t: still strictly causal. The last token of a
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
        """Returns, of normed tokens, keys of any length and values without successors, [tile, d_model]."""
        k, v = self.project(normed).chunk(2, dim=-1)
        return k, v

    def with_successors(
        self, v: Float[Tensor, "tile d_model"], following: Float[Tensor, "tile d_model"]
    ) -> Float[Tensor, "tile d_model"]:
        """Returns values joined by what the tokens that follow, normed, bring; as they are where a recipe says so."""
        return v if self.successor is None else torch.addmm(v, following, self.successor.weight.T)

    @staticmethod
    def _following(
        normed: Float[Tensor, "longer_tile d_model"], context: Context, span: slice
    ) -> Float[Tensor, "tile d_model"]:
        """Returns the token after each one, zero for the last one of a document."""
        following = normed[1:]
        if not context.ends_within(span):
            return following
        document = context.document[span.start : span.stop + 1]
        continues = (document[1:] == document[:-1])[:, None]
        return nn.functional.pad(following * continues, (0, 0, 0, span.stop - span.start - len(following)))


class HashAttention(Mix):
    """Bucketed window attention with (document, hash) as buckets; queries are keys, and no token sees itself."""

    def __init__(self, recipe: ModelRecipe, layer: int) -> None:
        super().__init__()
        assert isinstance(recipe.n_buckets, int), "n_buckets: auto is resolved before a model is built"
        self.window, self.block = recipe.window, recipe.attention_block
        self.n_buckets, self.layer = recipe.n_buckets, layer
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
        """Returns the numbers of the pairs (document, hash) of the keys."""
        hashed = hash_buckets(k, context.rotations(self.layer), self.n_buckets)
        return hashed.add_(context.document.int() * self.n_buckets)

    @torch.no_grad()
    def _statistics(
        self, bucket: Int[Tensor, "heads rounds tokens"], log_sum_exp: Float[Tensor, "heads tokens"]
    ) -> LayerStatistics:
        sink_share = float(torch.exp(self.sink[:, None] - log_sum_exp).mean())
        return LayerStatistics(*bucket_statistics(bucket, self.window), sink_share)


def attention(recipe: ModelRecipe, layer: int) -> Sublayer:
    """Returns the hash attention sublayer that a recipe describes; `layer` is its number in the model."""
    return Sublayer(
        read=ReadKeysValues(recipe),
        mix=HashAttention(recipe, layer),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )
