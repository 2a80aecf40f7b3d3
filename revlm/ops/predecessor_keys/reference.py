"""Keys with predecessors by PyTorch's operations, for some tokens at a time."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from revlm.ops.normalization import UNIT_EPSILON

TILE = 2048
"""Tokens whose sums exist at a time."""


def keys_after(
    k: Float[Tensor, "heads some head_dim"],
    previous: Float[Tensor, "heads some head_dim"],
    weight: Float[Tensor, "heads"],
) -> Float[Tensor, "heads some head_dim"]:
    """Returns `unit(k + weight * previous)`, given the key before each one (zero: there is none), in the dtype of k."""
    sums = _sums(k, previous, weight)
    return sums.mul_(_inverse_length(sums)).to(k.dtype)


def add_predecessors(
    k: Float[Tensor, "heads tokens head_dim"],
    starts: Int[Tensor, "documents"],
    weight: Float[Tensor, "heads"],
    out: Float[Tensor, "heads tokens head_dim"],
) -> None:
    """Fills `out` with the unit vectors of `k[t] + weight * k[t - 1]`."""
    is_first = first_tokens(k, starts)
    for start in range(0, k.shape[1], TILE):
        of_tile = slice(start, start + TILE)
        out[:, of_tile] = keys_after(k[:, of_tile], _previous(k, of_tile, is_first), weight)


def add_predecessors_backward(
    k: Float[Tensor, "heads tokens head_dim"],
    starts: Int[Tensor, "documents"],
    weight: Float[Tensor, "heads"],
    d_out: Float[Tensor, "heads tokens head_dim"],
    d_k: Float[Tensor, "heads tokens head_dim"],
) -> Float[Tensor, "heads"]:
    """Fills d_k, possibly in the memory of d_out; returns the gradient of the weight."""
    is_first, d_weight = first_tokens(k, starts), torch.zeros_like(weight)
    d_following = weight.new_zeros(k.shape[0], 1, k.shape[2])
    # Backwards, since a key's gradient needs that of the next token's sum.
    for start in reversed(range(0, k.shape[1], TILE)):
        of_tile = slice(start, start + TILE)
        previous = _previous(k, of_tile, is_first).to(weight.dtype)
        unit = _sums(k[:, of_tile], previous, weight)
        inverse = _inverse_length(unit)
        unit *= inverse
        gradient = d_out[:, of_tile].to(weight.dtype)
        d_sums = (gradient - unit * (gradient * unit).sum(-1, keepdim=True)).mul_(inverse)
        d_weight += (d_sums * previous).sum(-1).sum(-1)
        d_after = torch.cat([d_sums[:, 1:], d_following], dim=1)
        d_after.masked_fill_(is_first[start + 1 : start + 1 + d_sums.shape[1], None], 0)
        d_following = d_sums[:, :1].clone()
        d_k[:, of_tile] = d_sums.add_(d_after.mul_(weight[:, None, None]))
    return d_weight


def first_tokens(
    k: Float[Tensor, "heads tokens head_dim"], starts: Int[Tensor, "documents"]
) -> Bool[Tensor, "tokens+1"]:
    """Returns whether each token is the first of its document, and true for the place after the last."""
    is_first = torch.zeros(k.shape[1] + 1, dtype=torch.bool, device=k.device)
    is_first[0] = is_first[-1] = True
    return is_first.index_fill_(0, starts, True)


def workspace_bytes(d_model: int, tokens: int, *, backward: bool) -> int:
    """Returns the peak of the bytes besides arguments and results in float32."""
    tensors = 7 if backward else 4
    return tensors * 4 * d_model * min(tokens, TILE) + tokens


def _previous(k: Tensor, of_tile: slice, is_first: Tensor) -> Float[Tensor, "heads tile head_dim"]:
    """Returns the key before each one of a tile, zero before the first of a document."""
    before = slice(max(of_tile.start - 1, 0), min(of_tile.stop, k.shape[1]) - 1)
    previous = torch.nn.functional.pad(k[:, before], (0, 0, int(of_tile.start == 0), 0))
    return previous.masked_fill(is_first[of_tile][: previous.shape[1], None], 0)


def _sums(k: Tensor, previous: Tensor, weight: Tensor) -> Tensor:
    """Returns `k + weight * previous` in the dtype of the weight, float32 or float64."""
    return torch.addcmul(k.to(weight.dtype), previous.to(weight.dtype), weight[:, None, None])


def _inverse_length(x: Tensor) -> Tensor:
    return (x.square().sum(-1, keepdim=True) + UNIT_EPSILON).rsqrt()
