import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from revlm.errors import UsageError
from revlm.recipe import Recipe, bundled_recipes, find_recipe, load_recipe
from tests.recipe.texts import problem

BUNDLED = (
    "copy",
    "crime-and-punishment-512k",
    "demo",
    "enwik8-64k",
    "genome",
    "novel-64k",
    "novels",
    "novels-10m",
    "novels-1h",
    "pictures",
    "recall",
)


def test_the_bundled_recipes_load_and_open_with_what_they_need():
    assert set(bundled_recipes()) == set(BUNDLED)
    for name, path in bundled_recipes().items():
        comment = path.read_text().partition("\ndata:")[0]
        assert comment.startswith(f"# {name}: ")
        assert "# Needs:" in comment
        assert "# Figures:" in comment
        assert load_recipe(name) == load_recipe(path)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_resolved_recipe_loads_to_an_equal_one(name, write):
    recipe = load_recipe(name, ["memory.limit=3GiB", "optimizer.eps=1e-9"])
    resolved = load_recipe(write(recipe.to_yaml(), "recipe.yaml"))
    assert resolved == recipe
    assert resolved.to_yaml() == recipe.to_yaml()


def test_the_shortest_recipe_names_its_run_after_its_file(write):
    recipe = load_recipe(write(name="dostoevsky.yaml"))
    assert recipe.output_dir == Path("runs/dostoevsky")
    assert recipe.model.layers == ("local", "lsh")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {window: [}\n", "line 1, column 18"),
        ("data: {path: x}\nseed: 1\nseed: 2\n", "line 3, column 1: duplicate key seed"),
        ("- a\n", "should hold sections"),
        ("", "data: should have either path (a token store) or stream (texts tokenized during training)"),
        ("data: {path: x, stream: y, tokenizer: bytes}\n", "data: should have either path"),
        (
            "data: {stream: y}\n",
            "data: should have a tokenizer for its stream: a token store, a ",
        ),
        ("data: {path: x, tokenizer: bytes}\n", "data: should have no tokenizer together with path"),
        ("data: {stream: '', tokenizer: bytes}\n", "data.stream.corpus: should have at least 1 character"),
        ("data: {stream: 3, tokenizer: bytes}\n", "data.stream: should be a section of keys, not 3"),
        ("data: {stream: {split: x}, tokenizer: bytes}\n", "data.stream.corpus: missing"),
        (
            "data: {stream: {corpus: x, colunm: y}, tokenizer: a}\n",
            "data.stream.colunm: unknown key, did you mean data.",
        ),
        ("data: {stream: {corpus: x, errors: no}, tokenizer: a}\n", "data.stream.errors: should be 'strict' or 'skip'"),
        (b"data: {path: caf\xe9}\n", "not UTF-8 at byte 16"),
        ("data: !!python/object:os.system {}\n", "line 1"),
    ],
)
def test_broken_files_are_named_with_the_place(write, text, expected):
    path = write(text)
    message = problem(path)
    assert expected in message
    assert str(path) in message


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean novel-64k"):
        find_recipe("novels-64k")
    with pytest.raises(UsageError, match="the bundled recipes are copy, crime-and-punishment-512k, demo"):
        find_recipe("zzzz.yaml")


def test_a_name_longer_than_any_file_has_is_no_recipe():
    assert "there is no recipe file and no bundled recipe xxx" in problem("x" * 300)


def test_a_file_wins_over_a_bundled_name(write, monkeypatch):
    path = write("data: {path: own}\n", name="demo")
    monkeypatch.chdir(path.parent)
    assert load_recipe("demo").data.path == Path("own")


def test_the_documented_recipe_shows_every_default(write):
    values = yaml.safe_load(load_recipe(write()).to_yaml())
    assert set(values) == set(Recipe.model_fields)
    for name, section in values.items():
        if isinstance(section, dict):
            assert set(section) == set(Recipe.model_fields[name].annotation.model_fields)


def test_recipes_load_without_torch():
    code = "import sys, revlm.recipe; revlm.recipe.load_recipe('demo'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
