import torch

from revlm.ops.hashing import bucket_factors, draw_rotations, hash_buckets


def test_factors_multiply_to_the_number_of_buckets() -> None:
    assert [bucket_factors(n) for n in (2, 4, 16, 1024, 2048)] == [(2, 1), (2, 2), (4, 4), (32, 32), (32, 64)]


def test_rotations_replay_and_more_rounds_extend_the_first() -> None:
    few = draw_rotations(1, 7, 3, 2, 2, 16, 64)
    many = draw_rotations(1, 7, 3, 2, 5, 16, 64)
    assert torch.equal(many[:, :2], few)
    assert not torch.equal(draw_rotations(1, 8, 3, 2, 2, 16, 64), few)
    assert not torch.equal(draw_rotations(1, None, 3, 2, 2, 16, 64), few)


def test_the_hash_is_the_argmax_over_both_signs_of_each_factor() -> None:
    x = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(0))
    rotations = draw_rotations(1, 0, 0, 2, 3, 16, 64)
    found = hash_buckets(x, rotations, 64)
    for head in range(2):
        for round_ in range(3):
            first, second = (x[head] @ rotations[head, round_]).split([4, 4], dim=-1)
            h1, h2 = (torch.cat([p, -p], dim=-1).argmax(-1) for p in (first, second))
            assert torch.equal(found[head, :, round_].long(), h1 * 8 + h2)
