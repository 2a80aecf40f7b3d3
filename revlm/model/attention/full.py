"""Exact causal attention, for comparison: document by document, memory linear and time quadratic in their lengths."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from revlm.model.attention.heads import ReadQueriesKeysValues, Temperature, WriteHeads
from revlm.model.context import Context
from revlm.model.sublayer import Mix, Sublayer
from revlm.recipe import Model as ModelRecipe


class FullAttention(Mix):
    """PyTorch's own attention over everything earlier in the document, the token itself included; no sink."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.temperature = Temperature(n_heads)

    def forward(self, *read: Tensor, context: Context) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the attention's output from q, k, v [heads, tokens, head_dim]."""
        q, k, v = read
        q = (q * self.temperature()[:, None, None]).to(v.dtype)
        documents = [
            scaled_dot_product_attention(
                q[None, :, start:stop],
                k[None, :, start:stop],
                v[None, :, start:stop],
                is_causal=True,
                scale=1.0,
            )[0]
            for start, stop in context.bounds
        ]
        return documents[0] if len(documents) == 1 else torch.cat(documents, dim=1)


def attention(recipe: ModelRecipe, layer: int) -> Sublayer:
    """Returns the exact attention sublayer that a recipe describes."""
    return Sublayer(
        read=ReadQueriesKeysValues(recipe.d_model, recipe.n_heads),
        mix=FullAttention(recipe.n_heads),
        write=WriteHeads(recipe.d_model, recipe.dropout),
    )
