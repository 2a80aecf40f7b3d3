from collections.abc import Iterator

import pytest
import torch

from revlm.ops import backends
from revlm.ops.hashing import HashOfFew, bucket_factors, draw_rotations, hash_buckets, reference
from revlm.ops.triton import availability

pytestmark = pytest.mark.skipif(not availability.is_available(), reason="there is no triton")


@pytest.fixture(autouse=True)
def _kernels() -> Iterator[None]:
    with backends.using("triton"):
        yield


@pytest.mark.parametrize(("of_one", "head_dim"), [(2, 16), (30, 20), (4096, 32), (160, 64)])
def test_every_bucket_is_of_the_nearest_directions(of_one: int, head_dim: int) -> None:
    """To rounding in float32: where two directions are as near, either is right."""
    heads, tokens, rounds = 2, 70, 2
    x = torch.randn(heads, tokens, head_dim, generator=torch.Generator().manual_seed(0)).bfloat16()
    n_buckets = rounds * [of_one]
    rotations = draw_rotations(0, None, 0, heads, head_dim, n_buckets)
    found = hash_buckets(x, rotations, n_buckets)
    assert found.dtype == torch.int32
    assert (found != reference.hash_buckets(x, rotations, n_buckets)).sum() <= 1
    n1, n2 = bucket_factors(of_one)
    projected = (x.double() @ rotations.double()).unflatten(-1, (rounds, -1)).transpose(1, 2)
    for number, part in ((found // n2, projected[..., : n1 // 2]), (found % n2, projected[..., n1 // 2 :])):
        if part.shape[-1]:
            both = torch.cat([part, -part], dim=-1)
            chosen = both.gather(-1, number.long()[..., None])[..., 0]
            torch.testing.assert_close(chosen, both.amax(-1), rtol=0, atol=1e-4)


def test_heads_that_are_strided_and_nothing_at_all() -> None:
    x = torch.randn(9, 2, 16).transpose(0, 1)
    rotations, n_buckets = draw_rotations(0, None, 0, 2, 16, 3 * [8]), 3 * [8]
    assert torch.equal(hash_buckets(x, rotations, n_buckets), hash_buckets(x.contiguous(), rotations, n_buckets))
    assert hash_buckets(x[:, :0], rotations, n_buckets).shape == (2, 3, 0)


def test_rounds_may_have_numbers_of_buckets_of_their_own() -> None:
    x = torch.randn(2, 70, 16, generator=torch.Generator().manual_seed(0))
    n_buckets = [16, 16, 4, 256, 64, 2]
    rotations = draw_rotations(0, None, 0, 2, 16, n_buckets)
    assert torch.equal(hash_buckets(x, rotations, n_buckets), reference.hash_buckets(x, rotations, n_buckets))


def test_a_few_vectors_are_hashed_as_whole_sequences_are() -> None:
    x = torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(0))
    rotations = draw_rotations(0, None, 0, 2, 16, [64, 16])
    few = torch.cat([HashOfFew(rotations, [64, 16])(x[:, t : t + 1]) for t in range(40)], dim=1)
    assert few.dtype == torch.int64
    assert torch.equal(few.transpose(1, 2).int(), hash_buckets(x, rotations, [64, 16]))
