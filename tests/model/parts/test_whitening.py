"""Whitened hashes: products with whitened keys, of which all directions are alike."""

import pytest
import torch

from revlm.model.parts.whitening import averaged, isotropic_moments, second_moments, whitened
from revlm.ops.hashing import draw_rotations, hash_buckets

HEADS, HEAD_DIM, N_BUCKETS = 2, 8, 64


def lopsided_keys(tokens: int = 6000) -> torch.Tensor:
    """Unit vectors with a large mean and unequal variances, others in each head."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(HEADS, tokens, HEAD_DIM, generator=generator) * torch.linspace(0.2, 1, HEAD_DIM)
    keys[0] += 2.0
    return torch.nn.functional.normalize(keys, dim=-1)


def test_the_products_are_those_of_keys_without_a_preferred_direction() -> None:
    keys = lopsided_keys(4000).double()
    moments = second_moments(keys)
    of_basis = whitened(torch.eye(HEAD_DIM).expand(HEADS, -1, -1), moments)
    white = keys @ of_basis.double()
    torch.testing.assert_close(
        white.mT @ white / 4000, torch.eye(HEAD_DIM).double().expand(HEADS, -1, -1) / HEAD_DIM, atol=1e-2, rtol=0
    )
    directions = draw_rotations(0, None, 0, HEADS, HEAD_DIM, [N_BUCKETS])
    torch.testing.assert_close(
        keys @ whitened(directions, moments).double(), white @ directions.double(), atol=1e-5, rtol=0
    )


def test_whitened_hashes_fill_more_buckets() -> None:
    keys = lopsided_keys()
    directions = draw_rotations(0, None, 0, HEADS, HEAD_DIM, [N_BUCKETS])
    of_keys, of_whitened = (
        hash_buckets(keys, each, [N_BUCKETS])[:, 0] for each in (directions, whitened(directions, second_moments(keys)))
    )
    shares = [
        int(whitened_row.bincount().max()) / int(row.bincount().max())
        for row, whitened_row in zip(of_keys, of_whitened, strict=True)
    ]
    assert shares[0] < 0.5  # of the keys with a large mean
    assert shares[1] < 1


def test_keys_without_a_preferred_direction_keep_their_buckets() -> None:
    keys = lopsided_keys()
    directions = draw_rotations(0, None, 0, HEADS, HEAD_DIM, [N_BUCKETS])
    same = whitened(directions, isotropic_moments(HEADS, HEAD_DIM))
    moved = hash_buckets(keys, same, [N_BUCKETS]) != hash_buckets(keys, directions, [N_BUCKETS])
    assert moved.float().mean() < 1e-3


def test_second_moments_are_means_over_tokens_at_even_distances() -> None:
    keys = lopsided_keys(3 * 4096)
    sample = keys[:, ::3].double()
    expected = torch.stack([torch.cov(row.T, correction=0) + torch.outer(row.mean(0), row.mean(0)) for row in sample])
    torch.testing.assert_close(second_moments(keys).double(), expected, atol=1e-6, rtol=1e-5)
    assert second_moments(keys).diagonal(dim1=-2, dim2=-1).sum(-1).tolist() == pytest.approx([1, 1])


def test_the_moving_average_approaches_what_stays() -> None:
    moments, stays = isotropic_moments(HEADS, HEAD_DIM), second_moments(lopsided_keys())
    for _ in range(200):
        moments = averaged(moments, stays)
    torch.testing.assert_close(moments, stays, atol=1e-4, rtol=0)
