"""The random directions of hashes, which are reproducible."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from revlm.errors import UsageError

# Takes the place of the training step in the rotations of evaluation and generation.
_EVALUATION = 2**64 - 1


def bucket_factors(n_buckets: int) -> tuple[int, int]:
    """Returns even n1 and n2, as equal as possible, with n1 * n2 = n_buckets; (n_buckets, 1) where there are none.

    Raises:
        UsageError: `n_buckets` is not a positive even number.
    """
    if n_buckets < 2 or n_buckets % 2:
        raise UsageError(f"n_buckets is {n_buckets}: a hash with signs needs an even number, so give 2 or more")
    for n1 in range(math.isqrt(n_buckets), 1, -1):
        if n_buckets % n1 == 0 and n1 % 2 == 0 and (n_buckets // n1) % 2 == 0:
            return n1, n_buckets // n1
    return n_buckets, 1


def draw_rotations(
    seed: int, step: int | None, layer: int, heads: int, rounds: int, head_dim: int, n_buckets: int
) -> Float[Tensor, "heads rounds head_dim directions"]:
    """Returns the random directions of one layer, float32 on the CPU; `step` None means evaluation.

    Each (seed, step, layer, head, round) has its own stream of the counter-based generator Philox (Salmon et al.,
    2011), made normal by the Box-Muller transform: the same arguments give the same bits, and more rounds do not change
    the earlier ones. The directions of the first factor precede those of the second.
    """
    n1, n2 = bucket_factors(n_buckets)
    directions = n1 // 2 + n2 // 2
    normal = np.empty((heads, rounds, head_dim, directions), dtype=np.float32)
    pairs = -(-head_dim * directions // 2)
    key = np.array([seed, _EVALUATION if step is None else step], dtype=np.uint64)
    for head in range(heads):
        for round_ in range(rounds):
            # The lowest word counts the draws; the others identify the stream.
            counter = np.array([0, round_, head, layer], dtype=np.uint64)
            raw = np.random.Philox(key=key, counter=counter).random_raw(2 * pairs)
            uniform = (raw >> np.uint64(11)) * 2.0**-53
            radius, angle = np.sqrt(-2 * np.log1p(-uniform[:pairs])), 2 * np.pi * uniform[pairs:]
            both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
            normal[head, round_] = both[: head_dim * directions].reshape(head_dim, directions)
    return torch.from_numpy(normal)
