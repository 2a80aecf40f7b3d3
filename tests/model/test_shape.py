"""What shapes determine: the buckets of `n_buckets: auto`, tiles, and the heads that attention takes at a time."""

import pytest

from revlm.model import automatic_buckets, tile_tokens
from revlm.model.shape import heads_at_a_time
from revlm.recipe import Model


@pytest.mark.parametrize(
    ("seq_len", "rounds", "expected"),
    [
        (8192, 1, (128,)),
        (8192, 4, (16, 64, 256, 1024)),
        (65536, 4, (16, 128, 1024, 8192)),
        (65536, 2, (16, 8192)),
        (2**20, 3, (16, 1024, 65536)),
        (64, 3, (16, 16, 16)),
        (1, 1, (4,)),
        (2**24, 1, (65536,)),
    ],
)
def test_rounds_reach_from_recent_tokens_to_an_eighth_of_an_example(
    seq_len: int, rounds: int, expected: tuple[int, ...]
) -> None:
    assert automatic_buckets(seq_len, 64, rounds) == expected


@pytest.mark.parametrize("seq_len", [100, 5000, 65537, 300_000])
@pytest.mark.parametrize("rounds", [2, 3, 5, 8])
def test_each_round_has_at_least_as_many_buckets_as_the_one_before(seq_len: int, rounds: int) -> None:
    numbers = automatic_buckets(seq_len, 64, rounds)
    assert len(numbers) == rounds
    assert list(numbers) == sorted(numbers)
    assert all(number & (number - 1) == 0 for number in numbers)


@pytest.mark.parametrize("device_kind", ["cpu", "cuda"])
def test_tiles_are_whole_blocks_that_shrink_as_layers_widen(device_kind: str) -> None:
    sizes = [tile_tokens(Model(d_model=64, n_heads=1, d_ff=width), "auto", device_kind) for width in (64, 2048, 10**6)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    assert all(size % 64 == 0 for size in sizes)


def test_a_tile_on_cuda_is_long_and_a_given_one_is_kept() -> None:
    recipe = Model(d_model=512, n_heads=8, d_ff=2048)
    assert tile_tokens(recipe, "auto", "cuda") == 16384
    assert tile_tokens(recipe, "auto", "cpu") == 896
    assert tile_tokens(recipe, 100, "cuda") == 100


@pytest.mark.parametrize(
    ("n_heads", "head_dim", "tokens", "ranks", "device_kind", "expected"),
    [
        (4, 64, 65535, 1, "cpu", 4),
        (4, 64, 65536, 1, "cpu", 2),
        (4, 64, 2**20, 1, "cpu", 1),
        (8, 64, 2**20, 1, "cpu", 2),
        (8, 64, 2**20, 1, "cuda", 4),
        (8, 64, 2**18, 1, "cuda", 8),
        (6, 64, 2**20, 1, "cpu", 2),
        (5, 64, 2**20, 1, "cpu", 5),
        (1, 256, 2**20, 1, "cpu", 1),
        (8, 64, 2**20, 4, "cpu", 4),
        (8, 64, 2**20, 8, "cpu", 8),
        (3, 64, 2**20, 2, "cpu", 3),
    ],
)
def test_long_examples_take_some_heads_at_a_time(
    n_heads: int, head_dim: int, tokens: int, ranks: int, device_kind: str, expected: int
) -> None:
    assert heads_at_a_time(n_heads, head_dim, tokens, ranks, device_kind) == expected
