"""Hashing in one kernel: projections stay in registers, so that no [tokens, n_buckets] tensor exists."""

from collections.abc import Sequence
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.hashing.rotations import RoundsAlike, rounds_alike
from revlm.ops.triton.availability import on_device
from revlm.ops.triton.launch import Launch, blocks, kernel, padded
from revlm.ops.triton.product import product

# Tokens and directions in registers at once, for narrow and for wide heads.
_BLOCK, _MOST_DIRECTIONS = {False: 64, True: 32}, {False: 32, True: 16}
_LARGEST_HEAD_DIM = 128  # wider ones need more shared memory than GPUs of compute capability 8.6 and 8.9 have


def takes(x: Tensor) -> bool:
    """Returns whether the backend supports these vectors: a block of tokens must fit in registers."""
    return x.shape[2] <= _LARGEST_HEAD_DIM


def hash_buckets(
    x: Float[Tensor, "heads tokens head_dim"],
    rotations: Float[Tensor, "heads head_dim directions"],
    n_buckets: Sequence[int],
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns the result of `reference.hash_buckets`, up to ties within rounding."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    rotations = rotations.float().contiguous()
    bucket = torch.empty(x.shape[0], len(n_buckets), x.shape[1], dtype=torch.int32, device=x.device)
    if x.shape[1]:
        with on_device(x.device):
            for run in rounds_alike(n_buckets):
                hash_launch(x, rotations, bucket, run).run()
    return bucket


def hash_launch(x: Tensor, rotations: Tensor, bucket: Tensor, run: RoundsAlike) -> Launch:
    """Returns the launch of the kernel that fills some rounds of `bucket`."""
    heads, tokens, head_dim = x.shape
    is_wide = head_dim > 64
    block = _BLOCK[is_wide]
    arguments = {
        "x": x,
        "rotations": rotations[:, :, run.directions],
        "bucket": bucket[:, run.rounds],
        "tokens": tokens,
        "rounds": run.n_rounds,
        "all_rounds": bucket.shape[1],
        "all_directions": rotations.shape[2],
        "x_row": x.stride(0),
        "x_token": x.stride(1),
        "FIRST": run.first,
        "SECOND": run.second,
        "HEAD_DIM": head_dim,
        "BLOCK_D": padded(head_dim),
        "BLOCK": block,
        "BLOCK_DIRECTIONS": min(padded(max(run.first, run.second)), _MOST_DIRECTIONS[is_wide]),
    }
    return Launch(_hash, (blocks(tokens, block), heads), arguments, {"num_warps": 4, "num_stages": 1})


@kernel
@no_type_check
def _hash(
    x,
    rotations,
    bucket,
    tokens,
    rounds,
    all_rounds,
    all_directions,
    x_row,
    x_token,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_DIRECTIONS: tl.constexpr,
):
    """Hashes a block of tokens of one head, in consecutive rounds that are alike."""
    head = tl.program_id(1).to(tl.int64)
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    inside = (t < tokens)[:, None] & (d < HEAD_DIM)[None, :]
    tile = tl.load((x + head * x_row + t.to(tl.int64) * x_token)[:, None] + d[None, :], mask=inside, other=0.0)
    tile = tile.to(tl.float32)
    for round_ in range(rounds):
        directions = rotations + head * HEAD_DIM * all_directions + round_ * (FIRST + SECOND)
        number = _nearest(tile, directions, all_directions, FIRST, HEAD_DIM, BLOCK_D, BLOCK, BLOCK_DIRECTIONS)
        if SECOND > 0:
            other = _nearest(
                tile, directions + FIRST, all_directions, SECOND, HEAD_DIM, BLOCK_D, BLOCK, BLOCK_DIRECTIONS
            )
            number = number * (2 * SECOND) + other
        tl.store(bucket + (head * all_rounds + round_) * tokens + t, number, mask=t < tokens)


@triton.jit
@no_type_check
def _nearest(
    tile,
    directions,
    all_directions,
    COUNT: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_DIRECTIONS: tl.constexpr,
):
    """Returns argmax([p; -p]) of each token's projections p on `COUNT` directions, the first of equal ones."""
    d = tl.arange(0, BLOCK_D)
    largest = tl.full([BLOCK], float("-inf"), tl.float32)
    largest_negative = tl.full([BLOCK], float("-inf"), tl.float32)
    at = tl.zeros([BLOCK], tl.int32)
    at_negative = tl.zeros([BLOCK], tl.int32)
    for start in range(0, COUNT, BLOCK_DIRECTIONS):
        n = start + tl.arange(0, BLOCK_DIRECTIONS)
        inside = (d < HEAD_DIM)[:, None] & (n < COUNT)[None, :]
        rotation = tl.load(directions + d[:, None] * all_directions + n[None, :], mask=inside, other=0.0)
        projection = product(tile, rotation, tl.float32)
        value, index = tl.max(tl.where((n < COUNT)[None, :], projection, float("-inf")), 1, return_indices=True)
        at = tl.where(value > largest, start + index, at)
        largest = tl.maximum(value, largest)
        value, index = tl.max(tl.where((n < COUNT)[None, :], -projection, float("-inf")), 1, return_indices=True)
        at_negative = tl.where(value > largest_negative, start + index, at_negative)
        largest_negative = tl.maximum(value, largest_negative)
    return tl.where(largest >= largest_negative, at, at_negative + COUNT)
