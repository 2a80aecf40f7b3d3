"""Angular locality-sensitive hashing with rotations that can be drawn again.

`hash(x) = argmax([xR; -xR])` with a random R (Andoni et al., arXiv 1509.02897, section 3). For many buckets the hash is
the pair of two smaller ones, so that no [tokens, n_buckets] tensor exists.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.ops.compiled import library
from revlm.ops.compiled.structures import CONSTANTS, Hash, StridedTensor
from revlm.ops.triton import availability

# Tokens hashed at one time: the projections of a tile stay in the cache.
_TILE = 4096
# Stands where a training step's number would: the rotations of evaluation and generation.
_EVALUATION = 2**64 - 1
_LARGEST_HEAD_DIM = 256  # of which a block of tokens is held in registers


def bucket_factors(n_buckets: int) -> tuple[int, int]:
    """Returns (n1, n2), even and as equal as can be, with n1 * n2 = n_buckets; (n_buckets, 1) where none are.

    Raises:
        UsageError: if `n_buckets` is not a positive even number.
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

    Each (seed, step, layer, head, round) has a stream of its own from the counter-based generator Philox (Salmon et
    al., 2011), made normal by Box and Muller's transform: the same arguments give the same bits, and more rounds
    extend the first ones unchanged. Directions are those of the first factor, then those of the second.
    """
    n1, n2 = bucket_factors(n_buckets)
    directions = n1 // 2 + n2 // 2
    normal = np.empty((heads, rounds, head_dim, directions), dtype=np.float32)
    pairs = -(-head_dim * directions // 2)
    key = np.array([seed, _EVALUATION if step is None else step], dtype=np.uint64)
    for head in range(heads):
        for round_ in range(rounds):
            # The lowest word counts the draws; the others name the stream.
            counter = np.array([0, round_, head, layer], dtype=np.uint64)
            raw = np.random.Philox(key=key, counter=counter).random_raw(2 * pairs)
            uniform = (raw >> np.uint64(11)) * 2.0**-53
            radius, angle = np.sqrt(-2 * np.log1p(-uniform[:pairs])), 2 * np.pi * uniform[pairs:]
            both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
            normal[head, round_] = both[: head_dim * directions].reshape(head_dim, directions)
    return torch.from_numpy(normal)


def hash_buckets(
    x: Float[Tensor, "heads tokens head_dim"],
    rotations: Float[Tensor, "heads rounds head_dim directions"],
    n_buckets: int,
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns the bucket of each vector in each round, int32 in 0..n_buckets-1; computed in float32 whatever x is."""
    if x.device.type == "cpu" and library.builds():
        return _compiled_hash(x, rotations, n_buckets)
    if availability.runs_on(x.device) and x.shape[2] <= _LARGEST_HEAD_DIM:
        return triton_hash_buckets(x, rotations, n_buckets)
    return plain_hash_buckets(x, rotations, n_buckets)


@contextmanager
def _float32_products(device: torch.device) -> Iterator[None]:
    """Holds products in float32 at float32's own precision, whatever autocast and the user's settings make of others.

    `torch.set_float32_matmul_precision("high")` would have them in TF32 or bf16, whose hashes are other ones.
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


class HashOfFew:
    """`hash_buckets` for a few vectors at a time, again and again: the rotations are laid out once.

    Attributes:
        directions: of all rounds, side by side, those of a round's two factors one behind the other.
    """

    def __init__(self, rotations: Float[Tensor, "heads rounds head_dim directions"], n_buckets: int) -> None:
        self.rounds, self.factors = rotations.shape[1], bucket_factors(n_buckets)
        self.directions: Float[Tensor, "heads head_dim directions_of_all"]
        self.directions = rotations.float().transpose(1, 2).flatten(2).contiguous()

    def __call__(self, x: Float[Tensor, "heads tokens head_dim"]) -> Int[Tensor, "heads tokens rounds"]:
        """Returns the bucket of each vector in each round, int64."""
        n1, n2 = self.factors
        with _float32_products(x.device):
            products = (x.float() @ self.directions).unflatten(-1, (self.rounds, -1))
        first, second = products.split([n1 // 2, n2 // 2], dim=-1)
        bucket = _nearest_direction(first)
        return bucket if n2 == 1 else bucket.mul_(n2).add_(_nearest_direction(second))


def plain_hash_buckets(
    x: Float[Tensor, "heads tokens head_dim"],
    rotations: Float[Tensor, "heads rounds head_dim directions"],
    n_buckets: int,
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns what `hash_buckets` returns, by PyTorch's own operations."""
    hash_few = HashOfFew(rotations, n_buckets)
    heads, tokens, _ = x.shape
    buckets = torch.empty(heads, rotations.shape[1], tokens, dtype=torch.int32, device=x.device)
    for start in range(0, tokens, _TILE):
        buckets[:, :, start : start + _TILE] = hash_few(x[:, start : start + _TILE]).transpose(1, 2)
    return buckets


def triton_hash_buckets(
    x: Float[Tensor, "heads tokens head_dim"],
    rotations: Float[Tensor, "heads rounds head_dim directions"],
    n_buckets: int,
) -> Int[Tensor, "heads rounds tokens"]:
    """Returns what `hash_buckets` returns, by one kernel on CUDA (elsewhere in Triton's interpreter)."""
    from revlm.ops.triton import hashing

    return hashing.hash_buckets(x, rotations, bucket_factors(n_buckets))


def _compiled_hash(x: Tensor, rotations: Tensor, n_buckets: int) -> Tensor:
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


def _nearest_direction(projection: Tensor) -> Tensor:
    """Returns argmax([p; -p]) along the last dimension, without writing -p."""
    largest, at_largest = projection.max(-1)
    smallest, at_smallest = projection.min(-1)
    return torch.where(largest >= -smallest, at_largest, at_smallest + projection.shape[-1])
