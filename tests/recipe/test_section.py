from pathlib import Path

import pytest
from pydantic import ValidationError

from revlm.recipe import load_recipe, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [(7, 7), ("7", 7), ("4GB", 4 * 10**9), ("4 GiB", 2**32), ("1.5mib", 3 * 2**19), ("2k", 2000), ("9B", 9)],
)
def test_sizes(text, size_bytes):
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", [0, -1, True, "0GB", "GB", "4XB", "", None, 1.5, "9" * 5000 + "GB"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="should be a size"):
        parse_size(text)


@pytest.mark.parametrize("key", ["output_dir", "data.path"])
def test_a_home_that_nobody_has_is_a_name_like_any_other(write, key):
    recipe = load_recipe(write(), [f"{key}=~no-such-user/x"])
    assert {"output_dir": recipe.output_dir, "data.path": recipe.data.path}[key] == Path("~no-such-user/x")


def test_a_recipe_cannot_be_changed(write):
    recipe = load_recipe(write())
    with pytest.raises(ValidationError):
        recipe.seed = 3
    with pytest.raises(ValidationError):
        recipe.model.window = 3
