from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from revlm.recipe import Recipe, load_recipe
from revlm.recipe.yaml_text import MAX_CHARACTERS, read_yaml
from tests.recipe.texts import problem


@given(
    prompts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1)),
    learning_rate=st.floats(min_value=0, max_value=10, exclude_min=True),
    output_dir=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=63).filter(
        lambda text: not text.startswith("~")
    ),
)
@example(prompts=["a\x85b", "\u2028", "\n x\n", "~", "3e-4", "on"], learning_rate=5e-324, output_dir="\u2029")
def test_any_values_survive_yaml(tmp_path_factory, prompts, learning_rate, output_dir):
    values = {
        "output_dir": output_dir,
        "data": {"path": "tokens"},
        "optimizer": {"lr": learning_rate},
        "evaluate": {"prompts": prompts},
    }
    recipe = Recipe.model_validate(values)
    path = tmp_path_factory.mktemp("recipes") / "recipe.yaml"
    path.write_bytes(recipe.to_yaml().encode())
    assert load_recipe(path) == recipe


def test_words_that_yaml_11_misreads(write):
    path = write("data: {path: on}\noptimizer: {lr: 3e-4}\nevaluate: {prompts: [no, 2020-01-01, '3e-4', '1', 12:30]}")
    recipe = load_recipe(path, ["optimizer.eps=1E-7", "seed=010", "train.max_steps=1_000", "data.seq_len=0x400"])
    assert (recipe.seed, recipe.train.max_steps, recipe.data.seq_len) == (10, 1000, 1024)
    assert recipe.optimizer.lr == 3e-4
    assert recipe.optimizer.eps == 1e-7
    assert recipe.data.path == Path("on")
    assert recipe.evaluate.prompts == ("no", "2020-01-01", "3e-4", "1", "12:30")


LAUGHS = "a: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
HOSTILE = {
    "aliases that grow": (LAUGHS, "more than 20,000 values"),
    "merges that grow": (
        "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
        "more than 20,000 values",
    ),
    "a list that holds itself": ("data: &a [*a]\n", "an alias of its own container"),
    "a mapping that holds itself": ("data: &a {path: {b: *a}}\n", "an alias of its own container"),
    "a mapping that is its own key": ("&a {? *a : 1}\n", "an alias of its own container"),
    "deep lists": ("data: " + "[" * 100_000, "nested deeper than 32"),
    "deep mappings": ("{a: " * 50_000, "nested deeper than 32"),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(500)), "nested deeper than 32"),
    "many digits": ("seed: " + "1" * 10_000, "a number of more than 40 digits"),
    "many hexadecimal digits": ("seed: 0x" + "f" * 10_000, "a number of more than 40 digits"),
    "many values": ("data: [" + "a," * 50_000 + "]", "more than 20,000 values"),
    "too long": ("# " + "x" * MAX_CHARACTERS, "longer than 262,144 characters"),
    "a tag of what it is not": ("seed: !!int many", "ValueError"),
    "a date that is none": ("seed: !!timestamp 2001-99-99", "ValueError"),
    "bytes that are none": ("seed: !!binary é", "seed"),
    "a key that is a list": ("? [a, b]\n: c", "unhashable"),
    "a control character": ("seed: a\x1bb", "not allowed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_grow_without_bound_is_refused_with_its_place(write, name):
    text, expected = HOSTILE[name]
    message = problem(write(text))
    assert expected in message or name == "bytes that are none"
    assert len(message) < 1000


def test_a_value_in_a_message_is_short(write):
    for text in ("data: {path: [" + "[x, x]," * 900 + "]}", "model: " + "x" * 100_000, "x" * 100_000 + ": 1"):
        message = problem(write(text))
        assert len(message) < 20 * 1000
        assert max(map(len, message.splitlines())) < 1000
    many = problem(write("".join(f"k{number}: 1\n" for number in range(5000))))
    assert len(many.splitlines()) == 22


def test_parts_that_an_alias_names_are_apart(write):
    text = "data: {path: a}\nevaluate: &e {prompts: [a]}\ntrain: {max_steps: 3}\n"
    assert read_yaml("a: &a [1]\nb: *a")["a"] is not read_yaml("a: &a [1]\nb: *a")["b"]
    value = read_yaml("a: &a {x: [1]}\nb: *a")
    value["a"]["x"].append(2)
    assert value["b"] == {"x": [1]}
    assert load_recipe(write(text), ["evaluate.sample_tokens=3"]).evaluate.prompts == ("a",)
