"""Keys that also tell which token came before: those of `revlm.ops.predecessor_keys`, with a weight for each head.

Queries are keys, so a token then finds earlier tokens that are like itself and follow tokens that are like its own
predecessor. With successor values it reads what came after such a pair.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from revlm.model.parts.context import Context
from revlm.model.parts.memory import LayerSizes, MixMemory
from revlm.model.parts.sublayer import ALL_HEADS
from revlm.ops.predecessor_keys import keys_with_predecessors, workspace_bytes


class Predecessors(nn.Module):
    """Adds the weighted key of its predecessor to each token's key; the weights are learned.

    The heads begin with different weights, evenly from 0 to 1: some find tokens by themselves, some by pairs.
    """

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([head / max(n_heads - 1, 1) for head in range(n_heads)]))

    def forward(
        self, k: Float[Tensor, "heads tokens head_dim"], context: Context, heads: slice = ALL_HEADS
    ) -> Float[Tensor, "heads tokens head_dim"]:
        """Returns the keys of some heads with their predecessors'.

        The backward pass may write over the result's gradient.
        """
        return keys_with_predecessors(k, context.starts, self.weight[heads], may_overwrite=True)


def with_predecessors(mix: MixMemory, sizes: LayerSizes) -> MixMemory:
    """Returns the bytes of attention that adds predecessors to its keys first, given those without."""
    if not sizes.predecessor_keys:
        return mix
    width, tokens = sizes.own_heads * sizes.head_dim, sizes.all_tokens
    if sizes.compiled:
        forward = backward = 0
    elif sizes.in_triton:  # which tokens are a document's first, and a copy of the gradient
        forward, backward = tokens, tokens + sizes.heads_bytes
    else:
        forward, backward = (workspace_bytes(width, tokens, backward=each) for each in (False, True))
    return mix._replace(
        # The keys with predecessors, over whose gradient that of the keys is written.
        saved=mix.saved + sizes.heads_bytes,
        forward_workspace=max(mix.forward_workspace, forward),
        backward_workspace=max(mix.backward_workspace, backward),
    )
