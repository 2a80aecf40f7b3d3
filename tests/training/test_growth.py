"""A run whose examples grow: resumed at any step, on several ranks, it ends with the bits of an undisturbed one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from revlm.evaluation import evaluate_run
from revlm.generation import load_model
from revlm.planning import fit_plan
from revlm.recipe import load_recipe
from revlm.runs import read_journal
from revlm.training import train
from tests.several import on_ranks
from tests.tiny_run import tiny_recipe, write_texts, write_tokens
from tests.training.ranks_at_work import final_weights, in_order, several_recipe, trained

GROWING = ("data.seq_len_schedule=[[0, 64], [2, 256], [4, 1024]]", "train.max_steps=6", "checkpoint.every=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("growing")
    write_tokens(folder / "tokens")
    write_tokens(folder / "others", seed=1)
    write_texts(folder / "texts", seed=2)
    return folder


def same_bits(one: Path, other: Path) -> bool:
    first, second = final_weights(one), final_weights(other)
    assert first.keys() == second.keys()
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def data_of(kind: str, folder: Path) -> tuple[str, ...]:
    return {
        "whole": (),
        "fixed": ("data.packing=fixed",),
        "mixture": (f"data.path=[{folder}/tokens, {folder}/others]",),
        "stream": ("data.path=null", f"data.stream={folder}/texts", "data.tokenizer=bytes", "data.validation=0.2"),
    }[kind]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", ["whole", pytest.param("fixed", marks=SLOW), pytest.param("mixture", marks=SLOW), "stream"]
)
def test_a_run_left_around_each_change_ends_with_the_same_bits(folder: Path, kind: str) -> None:
    options = (*GROWING, *data_of(kind, folder))
    whole, parts = folder / f"whole {kind}", folder / f"parts {kind}"
    said: list[str] = []
    expected = list(train(tiny_recipe(whole, *options), said.append))
    assert [text for text in said if "from here on" in text] == [
        "step 3: examples of up to 256 tokens from here on",
        "step 5: examples of up to 1,024 tokens from here on",
    ]
    lengths = [record["tokens"] for record in expected]
    assert max(lengths[:2]) <= 64 < max(lengths[2:4]) <= 256 < max(lengths[4:]) <= 1024
    for left_at in (2, 3, 4, 5):
        run = train(tiny_recipe(parts, *options))
        for record in run:
            if record["step"] >= left_at:
                break
        run.close()
    list(train(tiny_recipe(parts, *options)))
    assert same_bits(whole, parts)
    assert [(each["step"], each["loss"]) for each in read_journal(parts / "metrics.jsonl")] == [
        (each["step"], each["loss"]) for each in expected
    ]


def test_two_ranks_take_the_examples_of_one_and_resume_with_the_same_bits(folder: Path) -> None:
    options = (
        "data.seq_len_schedule=[[0, 64], [1, 256], [2, 700]]",
        "evaluate.every=0",
        "train.gradient_accumulation_steps=3",
    )
    [(_, alone)] = on_ranks(1, trained, several_recipe(folder / "alone", *options))
    whole, parts = (several_recipe(folder / name, *options) for name in ("whole two", "parts two"))
    done = on_ranks(2, trained, whole)
    assert in_order([taken for _, taken in done], 3) == alone
    assert max(map(len, alone[:3])) <= 64 < max(map(len, alone[3:6])) <= 256 < max(map(len, alone[6:]))
    on_ranks(2, trained, parts, 1)
    on_ranks(2, trained, parts)
    assert same_bits(whole.output_dir, parts.output_dir)


def test_everything_else_speaks_of_the_longest(folder: Path) -> None:
    recipe = tiny_recipe(folder / "longest", *GROWING, "model.n_buckets=auto")
    longest = tiny_recipe(folder / "alike", "data.seq_len=1024")
    assert fit_plan(recipe, 258).plan.peaks == fit_plan(longest, 258).plan.peaks
    list(train(recipe))
    written = load_recipe(folder / "longest" / "recipe.yaml")
    assert written.model.n_buckets == (16, 128)
    assert (written.data.seq_len, written.data.seq_len_schedule) == (1024, ((0, 64), (2, 256), (4, 1024)))
    assert evaluate_run(load_model(folder / "longest"), None).seq_len == 1024


def test_another_length_goes_on_at_the_same_place_with_the_same_buckets(folder: Path) -> None:
    """What a schedule does, done by hand: the weights are the same."""
    scheduled, by_hand = folder / "scheduled", folder / "by hand"
    list(
        train(
            tiny_recipe(
                scheduled,
                "data.seq_len_schedule=[[0, 64], [2, 256]]",
                "lr_scheduler.name=constant",
                "train.max_steps=4",
            )
        )
    )
    buckets = "model.n_buckets=[16, 32]"
    list(train(tiny_recipe(by_hand, "data.seq_len=64", buckets, "lr_scheduler.name=constant", "train.max_steps=2")))
    longer = tiny_recipe(by_hand, "data.seq_len=256", "lr_scheduler.name=constant", "train.max_steps=4")
    list(train(longer, allow_change=True))
    assert load_recipe(by_hand / "recipe.yaml").model.n_buckets == (16, 32)
    assert same_bits(scheduled, by_hand)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_killed_around_a_change_it_ends_with_the_same_bits(folder: Path, kind: str) -> None:
    options = (*GROWING, *data_of(kind, folder))
    whole, killed = folder / f"undisturbed {kind}", folder / f"killed {kind}"
    list(train(tiny_recipe(whole, *options)))
    recipe = tiny_recipe(killed, *options)
    for record in (2, 3, 4, 5):
        code = (
            "import json, os, signal, sys; from revlm.recipe import Recipe; from revlm.training import train\n"
            "for record in train(Recipe.model_validate(json.load(sys.stdin))):\n"
            f"    if record['step'] >= {record}: os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], input=recipe.model_dump_json(), text=True, cwd=os.getcwd())
        assert done.returncode == -signal.SIGKILL
    list(train(recipe))
    assert same_bits(whole, killed)
