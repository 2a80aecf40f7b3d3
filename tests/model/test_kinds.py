"""Every kind of attention that a recipe can name stands in one table, with its layer, its cache and its memory."""

from typing import get_args

import pytest
import torch

from revlm.launch import ALONE
from revlm.model.decoding import CachedStack
from revlm.model.kinds import KINDS
from revlm.planning.sizes import sizes_of
from revlm.recipe import LayerKind, Recipe
from tests.model.networks import model


def test_the_table_has_the_words_of_a_recipe() -> None:
    assert tuple(KINDS) == get_args(LayerKind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_a_layer_a_cache_and_a_count_of_its_memory(kind: LayerKind) -> None:
    network = model((kind,), n_layers=1)
    assert network.hash_layers == ((0,) if KINDS[kind].hashes else ())
    stack = CachedStack(network, torch.float32)
    stack.extend(torch.arange(5))
    assert bool(stack.latest_buckets()) == KINDS[kind].hashes
    recipe = Recipe.model_validate(
        {"model": {"layers": [kind]}, "data": {"path": "tokens", "seq_len": 4096}, "output_dir": "run"}
    )
    sizes = sizes_of(recipe, 256, "cpu", ALONE)
    counted = KINDS[kind].memory(sizes, sizes.attention_weights[kind])
    assert counted.mix.read >= counted.mix.mixed == sizes.heads_bytes
    assert all(min(part) >= 0 for part in counted)
