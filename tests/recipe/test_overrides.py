from pathlib import Path

import pytest

from revlm.recipe import Stream, load_recipe
from tests.recipe.texts import SHORTEST, problem


def test_overrides_reach_every_section(write):
    recipe = load_recipe(
        write(),
        ["seed=7", "model.layers=[full]", "train.device=cuda:1", "evaluate.prompts=[a b]", "output_dir=x/y"],
    )
    assert (recipe.seed, recipe.model.layers, recipe.train.device) == (7, ("full",), "cuda:1")
    assert (recipe.evaluate.prompts, recipe.output_dir) == (("a b",), Path("x/y"))


@pytest.mark.parametrize(
    ("overrides", "stream", "path"),
    [
        (["data.stream=hf:me/books", "data.tokenizer=bytes"], Stream(corpus="hf:me/books"), None),
        (["data.stream={corpus: b/*.txt, split: x}", "data.tokenizer=t"], Stream(corpus="b/*.txt", split="x"), None),
        (
            ["data.stream.corpus=a", "data.stream.errors=skip", "data.tokenizer=t"],
            Stream(corpus="a", errors="skip"),
            None,
        ),
        (["data.stream=a", "data.tokenizer=t", "data.path="], Stream(corpus="a"), None),
        (["data.path=other"], None, Path("other")),
    ],
)
@pytest.mark.parametrize("file", [SHORTEST, "data: {stream: x, tokenizer: bytes}\n"])
def test_texts_or_tokens_of_the_command_line_take_the_place_of_the_files(write, file, overrides, stream, path):
    recipe = load_recipe(write(file), overrides)
    assert (recipe.data.stream, recipe.data.path) == (stream, path)
    assert recipe.data.paths == ((path,) if path else ())
    assert (recipe.data.tokenizer is None) == (stream is None)
    resolved = load_recipe(write(recipe.to_yaml(), "recipe.yaml"))
    assert resolved == recipe
    assert resolved.to_yaml() == recipe.to_yaml()


def test_both_on_the_command_line_are_refused_and_a_key_adds_to_a_short_form(write):
    assert "data: should have either" in problem(write(), "data.path=a", "data.stream=b", "data.tokenizer=bytes")
    streamed = ("data.stream=b", "data.tokenizer=bytes", "data.packing=interleaved")
    assert "data: should have packing whole or fixed with a stream" in problem(write(), "data.path=", *streamed)
    recipe = load_recipe(write("data: {stream: hf:me/books, tokenizer: bytes}\n"), ["data.stream.split=test"])
    assert recipe.data.stream == Stream(corpus="hf:me/books", split="test")
    again = load_recipe(write(load_recipe(write()).to_yaml()), ["data.stream.corpus=a", "data.tokenizer=bytes"])
    assert again.data.stream == Stream(corpus="a")


def test_an_override_fills_a_section_that_the_file_leaves_empty(write):
    recipe = load_recipe(write("data: {path: data/tokens}\ntrain:\n"), ["train.max_steps=5"])
    assert recipe.train.max_steps == 5


def test_an_override_in_what_is_no_section_names_the_section(write):
    message = problem(write("data: {path: data/tokens}\ntrain: 7\n"), "train.max_steps=5")
    assert message.endswith("mine.yaml: train: should be a section of keys, not 7")


def test_the_key_of_an_override_is_no_pattern(write):
    assert "data.pa(th: unknown key" in problem(write(), "data.pa(th=x")
    recipe = load_recipe(write(), ["data.stream=a", "data.tokenizer=bytes", "data.seq_len=1024"])
    assert recipe.data.path is None


def test_an_override_below_a_value_is_an_unknown_key(write):
    message = problem(write(SHORTEST + "model: {d_model: 64}\n"), "model.d_model.x=3")
    assert "model.d_model.x: unknown key, did you mean model.d_model?" in message
