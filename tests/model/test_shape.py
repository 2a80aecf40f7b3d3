import pytest

from revlm.model import tile_tokens
from revlm.model.shape import heads_at_a_time
from revlm.recipe import Model


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
