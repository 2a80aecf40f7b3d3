"""The random directions of hashes, which are reproducible."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

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


class RoundsAlike(NamedTuple):
    """Consecutive rounds with the same number of buckets, whose directions lie side by side.

    `n1` and `n2` are the factors of the number of buckets; a round has `first` and then `second` directions.
    """

    rounds: slice
    directions: slice
    n1: int
    n2: int

    @property
    def first(self) -> int:
        """The number of directions of the first factor in one round."""
        return self.n1 // 2

    @property
    def second(self) -> int:
        """The number of directions of the second factor in one round; 0 where there is none."""
        return self.n2 // 2

    @property
    def n_buckets(self) -> int:
        """The number of buckets of one round."""
        return self.n1 * self.n2

    @property
    def n_rounds(self) -> int:
        """The number of these rounds."""
        return self.rounds.stop - self.rounds.start


def rounds_alike(n_buckets: Sequence[int]) -> Iterator[RoundsAlike]:
    """Yields the runs of rounds with the same number of buckets."""
    round_, direction = 0, 0
    for number, run in groupby(n_buckets):
        n1, n2 = bucket_factors(number)
        rounds = slice(round_, round_ + len(list(run)))
        directions = slice(direction, direction + (rounds.stop - rounds.start) * (n1 // 2 + n2 // 2))
        yield RoundsAlike(rounds, directions, n1, n2)
        round_, direction = rounds.stop, directions.stop


def directions_of(n_buckets: Sequence[int]) -> int:
    """Returns the number of random directions of all rounds together, given each round's number of buckets."""
    return sum(factor // 2 for number in n_buckets for factor in bucket_factors(number))


def draw_rotations(
    seed: int, step: int | None, layer: int, heads: int, head_dim: int, n_buckets: Sequence[int]
) -> Float[Tensor, "heads head_dim directions"]:
    """Returns the random directions of one layer, float32 on the CPU; `step` None means evaluation.

    `n_buckets` is the number of buckets of each round. The directions of all rounds lie side by side; within a round,
    those of the first factor come first.

    Each (seed, step, layer, head, round) has its own stream of the counter-based generator Philox (Salmon et al.,
    2011), made normal by the Box-Muller transform: the same arguments give the same bits, and more rounds do not change
    the earlier ones.
    """
    normal = np.empty((heads, head_dim, directions_of(n_buckets)), dtype=np.float32)
    key = np.array([seed, _EVALUATION if step is None else step], dtype=np.uint64)
    for head in range(heads):
        start = 0
        for round_, number in enumerate(n_buckets):
            directions = directions_of([number])
            pairs = -(-head_dim * directions // 2)
            # The lowest word counts the draws; the others identify the stream.
            counter = np.array([0, round_, head, layer], dtype=np.uint64)
            raw = np.random.Philox(key=key, counter=counter).random_raw(2 * pairs)
            uniform = (raw >> np.uint64(11)) * 2.0**-53
            radius, angle = np.sqrt(-2 * np.log1p(-uniform[:pairs])), 2 * np.pi * uniform[pairs:]
            both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
            normal[head, :, start : start + directions] = both[: head_dim * directions].reshape(head_dim, directions)
            start += directions
    return torch.from_numpy(normal)
