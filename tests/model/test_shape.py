import pytest

from revlm.model import tile_tokens
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
