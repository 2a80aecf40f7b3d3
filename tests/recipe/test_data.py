from pathlib import Path

import pytest
import yaml

from revlm.recipe import load_recipe


@pytest.mark.parametrize(
    ("text", "paths", "weights"),
    [
        ("data/novels", ["data/novels"], None),
        ("[a]", ["a"], None),
        ("[a, b]", ["a", "b"], None),
        ("[{path: a, weight: 1}, {path: b/c, weight: 2.5}]", ["a", "b/c"], (1.0, 2.5)),
    ],
)
def test_tokens_are_one_folder_or_a_mixture(write, text, paths, weights):
    for recipe in (load_recipe(write(), [f"data.path={text}"]), load_recipe(write(f"data: {{path: {text}}}\n"))):
        assert recipe.data.paths == tuple(map(Path, paths))
        assert recipe.data.weights == weights
        resolved = load_recipe(write(recipe.to_yaml(), "recipe.yaml"))
        assert resolved == recipe
        assert resolved.to_yaml() == recipe.to_yaml()
    assert recipe.model_dump(mode="json")["data"]["path"] == yaml.safe_load(text)
