from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from revlm.recipe import Recipe, load_recipe


@given(
    samples=st.lists(st.text(st.characters(codec="utf-8"), min_size=1)),
    learning_rate=st.floats(min_value=0, max_value=10, exclude_min=True),
    output_dir=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
        lambda text: not text.startswith("~")
    ),
)
@example(samples=["a\x85b", "\u2028", "\n x\n", "~", "3e-4", "on"], learning_rate=5e-324, output_dir="\u2029")
def test_any_values_survive_yaml(tmp_path_factory, samples, learning_rate, output_dir):
    values = {
        "output_dir": output_dir,
        "data": {"path": "tokens"},
        "optimizer": {"lr": learning_rate},
        "evaluate": {"samples": samples},
    }
    recipe = Recipe.model_validate(values)
    path = tmp_path_factory.mktemp("recipes") / "recipe.yaml"
    path.write_bytes(recipe.to_yaml().encode())
    assert load_recipe(path) == recipe


def test_words_that_yaml_11_misreads(write):
    path = write("data: {path: on}\noptimizer: {lr: 3e-4}\nevaluate: {samples: [no, 2020-01-01, '3e-4', '1', 12:30]}")
    recipe = load_recipe(path, ["optimizer.eps=1E-7", "seed=010", "train.max_steps=1_000", "data.seq_len=0x400"])
    assert (recipe.seed, recipe.train.max_steps, recipe.data.seq_len) == (10, 1000, 1024)
    assert recipe.optimizer.lr == 3e-4
    assert recipe.optimizer.eps == 1e-7
    assert recipe.data.path == Path("on")
    assert recipe.evaluate.samples == ("no", "2020-01-01", "3e-4", "1", "12:30")
