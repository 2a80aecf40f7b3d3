"""Hash attention: the window is the most recent earlier tokens that hash alike, and each brings its successor too."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.model.attention.heads import Temperature, WriteHeads, split_heads, unit_vectors
from revlm.model.context import Context, LayerStatistics
from revlm.model.sublayer import Mix, Read, Sublayer
from revlm.ops.attention import attention_with_log_sum_exp, bucket_statistics
from revlm.ops.hashing import hash_buckets
from revlm.recipe import Model as ModelRecipe


class ReadKeysValuesBuckets(Read):
    """One shared projection for queries and keys, values of each token and its successor, and the buckets.

    What a language model wants from an earlier similar place is what came next, so the value of s is
    `W_v x[s] + W_n x[s + 1]`. A token sees only s < t, so s + 1 <= t: still strictly causal. The last token of a
    document has no successor.
    """

    lookahead = 1

    def __init__(self, recipe: ModelRecipe, layer: int) -> None:
        super().__init__()
        assert isinstance(recipe.n_buckets, int), "n_buckets: auto is resolved before a model is built"
        self.n_heads, self.n_buckets, self.layer = recipe.n_heads, recipe.n_buckets, layer
        self.norm = nn.RMSNorm(recipe.d_model, eps=1e-6)
        self.project = nn.Linear(recipe.d_model, 2 * recipe.d_model, bias=False)
        self.successor = nn.Linear(recipe.d_model, recipe.d_model, bias=False) if recipe.successor_values else None

    def forward(
        self, x: Float[Tensor, "longer_tile d_model"], context: Context, span: slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns k, v [heads, tile, head_dim] and the bucket numbers [heads, tile, rounds] of (document, hash)."""
        length, normed = span.stop - span.start, self.norm(x)
        k, v = self.project(normed[:length]).chunk(2, dim=-1)
        if self.successor is not None:
            document = context.document[span.start : span.stop + 1]
            continues = (document[1:] == document[:-1])[:, None]
            v = v + nn.functional.pad(self.successor(normed[1:]) * continues, (0, 0, 0, length + 1 - len(document)))
        k = unit_vectors(split_heads(k, self.n_heads))
        hashed = hash_buckets(k.detach(), context.rotations[self.layer], self.n_buckets)
        bucket = context.document[span, None].int() * self.n_buckets + hashed
        return k.to(v.dtype), split_heads(v, self.n_heads), bucket


class HashAttention(Mix):
    """Bucketed window attention with (document, hash) as buckets; queries are keys, and no token sees itself."""

    def __init__(self, recipe: ModelRecipe, layer: int) -> None:
        super().__init__()
        self.window, self.block, self.layer = recipe.window, recipe.attention_block, layer
        self.temperature = Temperature(recipe.n_heads)
        self.sink = nn.Parameter(torch.zeros(recipe.n_heads))

    def forward(self, *read: Tensor, context: Context) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output from k, v [heads, tokens, head_dim] and buckets [heads, tokens, rounds]."""
        k, v, bucket = read
        bucket = bucket.transpose(1, 2)
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
        )
        if context.statistics is not None and self.layer not in context.statistics:
            context.statistics[self.layer] = self._statistics(bucket, log_sum_exp)
        return out

    @torch.no_grad()
    def _statistics(
        self, bucket: Int[Tensor, "heads rounds tokens"], log_sum_exp: Float[Tensor, "heads tokens"]
    ) -> LayerStatistics:
        sink_share = float(torch.exp(self.sink[:, None] - log_sum_exp).mean())
        return LayerStatistics(*bucket_statistics(bucket, self.window), sink_share)


def attention(recipe: ModelRecipe, layer: int) -> Sublayer:
    """Returns the hash attention sublayer that a recipe describes; `layer` is its number in the model."""
    return Sublayer(
        read=ReadKeysValuesBuckets(recipe, layer),
        mix=HashAttention(recipe, layer),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )
