"""Hashing, compiled for the machine's CPU."""

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
    rotations: Float[Tensor, "heads rounds head_dim directions"],
    n_buckets: int,
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns the result of `reference.hash_buckets`, up to ties within rounding."""
    n1, n2 = bucket_factors(n_buckets)
    heads, tokens, head_dim = x.shape
    rounds = rotations.shape[1]
    if x.dtype != torch.bfloat16 or x.stride(-1) != 1:
        x = x.float().contiguous()
    directions = rotations.float().transpose(2, 3).reshape(heads, -1, head_dim)
    directions = torch.nn.functional.pad(
        directions, (0, 0, 0, -directions.shape[1] % CONSTANTS["tile_rows"])
    ).contiguous()
    buckets = torch.empty(heads, rounds, tokens, dtype=torch.int32)
    problem = Hash(
        rows=heads,
        tokens=tokens,
        head_dim=head_dim,
        rounds=rounds,
        first=n1 // 2,
        second=n2 // 2,
        threads=torch.get_num_threads(),
        x=StridedTensor.of(x),
        directions=directions.data_ptr(),
        bucket=buckets.data_ptr(),
    )
    library.call("hash_bfloat16" if x.dtype == torch.bfloat16 else "hash_float32", problem, "hashing")
    return buckets
