"""Whitened hashes: random directions for which a head's keys are alike in all directions on average.

Keys have a mean of up to half their length, and most of their variance in a few directions. Their hashes fill few
buckets, and the window of a full bucket reaches back to recent tokens only. With the second moments M = E[k k^T] of a
head's keys and the Cholesky factor L of M, the second moments of L^-1 k are the identity. The product of L^-1 k with a
direction r is that of k with L^-T r, so keys stay as they are and only the directions change.

The finest rounds of evaluation and generation are whitened. Those of training are not, nor are coarse rounds, which
find tokens that are only similar (docs/experiments.md, "Finer buckets and whitened hashes").
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

_SAMPLED = 4096  # tokens of an example that second moments are taken from, evenly spaced
_RATE = 1 / 4  # weight of the latest second moments in their moving average
_SHRINKAGE = 1e-3  # share of the identity in what whitens: no direction is stretched without bound


def isotropic_moments(heads: int, head_dim: int) -> Float[Tensor, "heads head_dim head_dim"]:
    """Returns the second moments of unit vectors without a preferred direction, with which nothing is whitened."""
    moments = torch.zeros(heads, head_dim, head_dim)
    moments.diagonal(dim1=1, dim2=2).fill_(1 / head_dim)
    return moments


def second_moments(k: Float[Tensor, "heads tokens head_dim"]) -> Float[Tensor, "heads head_dim head_dim"]:
    """Returns the means of k k^T over a sample of the tokens, in float32 and computed in float64."""
    moments = torch.empty(len(k), k.shape[2], k.shape[2], device=k.device)
    for of_head, keys in zip(moments, k[:, :: -(-k.shape[1] // _SAMPLED)], strict=True):
        sample = keys.double()
        of_head.copy_(sample.mT @ sample / len(sample))
    return moments


def averaged(
    moments: Float[Tensor, "heads head_dim head_dim"], latest: Float[Tensor, "heads head_dim head_dim"]
) -> Float[Tensor, "heads head_dim head_dim"]:
    """Returns the moving average of second moments with the latest ones."""
    return torch.lerp(moments, latest.to(moments), _RATE)


def whitened(
    directions: Float[Tensor, "heads head_dim directions"], moments: Float[Tensor, "heads head_dim head_dim"]
) -> Float[Tensor, "heads head_dim directions"]:
    """Returns the directions that whitened keys' products with the given ones are those of the keys with."""
    identity = torch.eye(moments.shape[-1], dtype=torch.float64)
    factor = torch.linalg.cholesky(torch.lerp(moments.double() * len(identity), identity, _SHRINKAGE))
    return torch.linalg.solve_triangular(factor.mT, directions.double(), upper=True).float()


def with_key_moments(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a model's weights with the moments that those of earlier versions lack, whose hashes are not whitened."""
    isotropic = {
        name.replace("rotations", "key_moments"): isotropic_moments(*rotations.shape[:2])
        for name, rotations in weights.items()
        if name.startswith("rotations_")
    }
    return isotropic | dict(weights)
