import pytest

from revlm.model import automatic_buckets, resolve_model, tile_tokens
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


def test_automatic_buckets_go_from_coarse_to_fine() -> None:
    assert automatic_buckets(8192, window=64, n_rounds=4) == (16, 64, 512, 8192)
    assert automatic_buckets(2**20, window=64, n_rounds=4) == (16, 64, 1024, 16384)
    assert automatic_buckets(8192, window=64, n_rounds=2) == (16, 8192)
    assert automatic_buckets(8192, window=64, n_rounds=1) == (128,)


@pytest.mark.parametrize("n_rounds", [1, 2, 3, 64])
@pytest.mark.parametrize("window", [1, 7, 64, 2**24])
@pytest.mark.parametrize("seq_len", [2, 3, 100, 2**13, 10**6])
def test_automatic_buckets_are_numbers_that_a_recipe_takes(seq_len: int, window: int, n_rounds: int) -> None:
    found = resolve_model(Model(window=window, n_rounds=n_rounds), seq_len).n_buckets
    assert Model(n_rounds=n_rounds, n_buckets=found).n_buckets == found
    assert list(found) == sorted(found)
