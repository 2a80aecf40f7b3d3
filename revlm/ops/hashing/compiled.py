"""Hashing, compiled for the machine's CPU."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import CONSTANTS, Hash, StridedTensor
from revlm.ops.hashing.rotations import bucket_factors


def takes(x: Tensor) -> bool:
    """Returns whether the backend supports these vectors; it supports any."""
    return True


def hash_buckets(
    x: Float[Tensor, "heads tokens head_dim"],
    rotations: Float[Tensor, "heads head_dim directions"],
    n_buckets: Sequence[int],
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns the result of `reference.hash_buckets`, up to ties within rounding."""
    heads, tokens, head_dim = x.shape
    if x.dtype != torch.bfloat16 or x.stride(-1) != 1:
        x = x.float().contiguous()
    directions = rotations.float().transpose(1, 2)
    directions = torch.nn.functional.pad(
        directions, (0, 0, 0, -directions.shape[1] % CONSTANTS["tile_rows"])
    ).contiguous()
    factors = factors_of_rounds(n_buckets)
    buckets = torch.empty(heads, len(n_buckets), tokens, dtype=torch.int32)
    problem = Hash(
        rows=heads,
        tokens=tokens,
        head_dim=head_dim,
        rounds=len(n_buckets),
        directions_of_all=rotations.shape[2],
        threads=torch.get_num_threads(),
        factors=factors.data_ptr(),
        x=StridedTensor.of(x),
        directions=directions.data_ptr(),
        bucket=buckets.data_ptr(),
    )
    library.call("hash_bfloat16" if x.dtype == torch.bfloat16 else "hash_float32", problem, "hashing")
    return buckets


def factors_of_rounds(n_buckets: Sequence[int]) -> Int[Tensor, "rounds two"]:
    """Returns the numbers of directions of each round's first and second factor, int64, for C++."""
    return torch.tensor([bucket_factors(number) for number in n_buckets], dtype=torch.int64) // 2
