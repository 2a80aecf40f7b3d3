"""Hashing with PyTorch's operations, in true float32 precision."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.hashing.rotations import rounds_alike

TILE = 4096
"""Tokens hashed at a time, so that the projections of a tile fit in the cache."""


def hash_buckets(
    x: Float[Tensor, "heads tokens head_dim"],
    rotations: Float[Tensor, "heads head_dim directions"],
    n_buckets: Sequence[int],
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns, for each vector in each round, the index of its nearest direction, int32."""
    directions = rotations.float().contiguous()
    heads, tokens, _ = x.shape
    buckets = torch.empty(heads, len(n_buckets), tokens, dtype=torch.int32, device=x.device)
    for start in range(0, tokens, TILE):
        tile = slice(start, start + TILE)
        buckets[:, :, tile] = nearest(x[:, tile], directions, n_buckets).transpose(1, 2)
    return buckets


def nearest(
    x: Float[Tensor, "heads tokens head_dim"],
    directions: Float[Tensor, "heads head_dim directions"],
    n_buckets: Sequence[int],
) -> Int[Tensor, "heads tokens rounds"]:
    """Returns the bucket of each vector in each round, int64."""
    with _float32_products(x.device):
        products = x.float() @ directions
    of_runs = []
    for run in rounds_alike(n_buckets):
        first, second = (
            products[..., run.directions].unflatten(-1, (run.n_rounds, -1)).split([run.first, run.second], dim=-1)
        )
        bucket = _nearest_direction(first)
        of_runs.append(bucket if run.second == 0 else bucket.mul_(run.n2).add_(_nearest_direction(second)))
    return of_runs[0] if len(of_runs) == 1 else torch.cat(of_runs, dim=-1)


@contextmanager
def _float32_products(device: torch.device) -> Iterator[None]:
    """Computes products in true float32 precision inside the `with` block, regardless of autocast and user settings.

    With `torch.set_float32_matmul_precision("high")` they would be in TF32 or bf16, which gives other hashes.
    """
    settings = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [each.fp32_precision for each in settings]
    try:
        for each in settings:
            each.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for each, precision in zip(settings, before, strict=True):
            each.fp32_precision = precision


def _nearest_direction(projection: Tensor) -> Tensor:
    """Returns argmax([p; -p]) along the last dimension, without writing -p."""
    largest, at_largest = projection.max(-1)
    smallest, at_smallest = projection.min(-1)
    return torch.where(largest >= -smallest, at_largest, at_smallest + projection.shape[-1])
