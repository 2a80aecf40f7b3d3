"""Local attention: the window is the token itself and those just before it in its document."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.attention.heads import ReadQueriesKeysValues, Temperature, WriteHeads
from revlm.model.context import Context
from revlm.model.sublayer import Mix, Sublayer
from revlm.ops.attention import attention_with_log_sum_exp
from revlm.recipe import Model as ModelRecipe


class LocalAttention(Mix):
    """Bucketed window attention with the document as the one bucket."""

    def __init__(self, n_heads: int, window: int, block: int) -> None:
        super().__init__()
        self.window, self.block = window, block
        self.temperature = Temperature(n_heads)
        self.sink = nn.Parameter(torch.zeros(n_heads))

    def forward(self, *read: Tensor, context: Context) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output from q, k, v [heads, tokens, head_dim]."""
        q, k, v = read
        bucket = context.document[None, None].expand(q.shape[0], 1, -1)
        return attention_with_log_sum_exp(
            q,
            k,
            v,
            bucket,
            window=self.window,
            scale=self.temperature(),
            sink=self.sink,
            include_self=True,
            block=self.block,
            may_overwrite=True,
        )[0]


def attention(recipe: ModelRecipe, layer: int) -> Sublayer:
    """Returns the local attention sublayer that a recipe describes."""
    return Sublayer(
        read=ReadQueriesKeysValues(recipe.d_model, recipe.n_heads),
        mix=LocalAttention(recipe.n_heads, recipe.window, recipe.attention_block),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )
