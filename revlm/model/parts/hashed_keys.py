"""What a hash layer hashes with `hash_ngram: 2`: a token's key, plus that of the token before it in its document.

Tokens then share a bucket where they are alike and follow alike tokens, so a bucket's window holds fewer tokens that
are alike by themselves only. Attention weighs the keys as they are.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.hashing import hash_buckets

TILE = 8192
"""Tokens whose sums exist at a time."""


def with_previous(
    k: Float[Tensor, "heads tokens head_dim"], previous: Float[Tensor, "heads tokens head_dim"]
) -> Float[Tensor, "heads tokens head_dim"]:
    """Returns what is hashed for keys, given the key before each one (zero where there is none), float32."""
    return k.float() + previous.float()


def hash_with_previous(
    k: Float[Tensor, "heads tokens head_dim"],
    starts: Int[Tensor, "documents"],
    rotations: Float[Tensor, "heads head_dim directions"],
    n_buckets: Sequence[int],
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns the bucket of each token in each round, int32; `starts` are the first tokens of the documents."""
    heads, tokens, _ = k.shape
    bucket = torch.empty(heads, len(n_buckets), tokens, dtype=torch.int32, device=k.device)
    for start in range(0, tokens, TILE):
        stop = min(start + TILE, tokens)
        hashed = k[:, start:stop].to(torch.float32, copy=True)
        first = max(start, 1)
        hashed[:, first - start :] = with_previous(k[:, first:stop], k[:, first - 1 : stop - 1])
        begins = starts[(starts >= start) & (starts < stop)]
        hashed[:, begins - start] = k[:, begins].float()
        bucket[..., start:stop] = hash_buckets(hashed, rotations, n_buckets)
    return bucket


def workspace_bytes(d_model: int, tokens: int) -> int:
    """Returns the bytes of the sums of a tile: three tensors in float32."""
    return 12 * d_model * min(tokens, TILE)
