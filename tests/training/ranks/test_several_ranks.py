"""Several processes that train together give what one gives: the examples, the gradients, the records, the weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from revlm.runs import read_journal
from tests.several import on_ranks
from tests.tiny_run import write_tokens
from tests.training.ranks_at_work import final_weights, gradients, in_order, several_recipe, trained

TIMELESS = ("event", "step", "epoch", "tokens", "documents", "learning_rate")
ROUNDING = 2e-6
"""Of the largest gradient of a parameter: float32 sums of four examples taken in another order."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write_tokens(folder / "tokens")
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> tuple[list[dict[str, Any]], list[list[int]]]:
    [done] = on_ranks(1, trained, several_recipe(folder / "alone"))
    return done


def same_bits(one: Path, other: Path) -> bool:
    first, second = final_weights(one), final_weights(other)
    assert first.keys() == second.keys()
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize(("ranks", "packing"), [(2, "whole"), (3, "fixed")])
def test_gradients_are_those_of_one_process_to_rounding(folder: Path, ranks: int, packing: str) -> None:
    recipe = several_recipe(folder / "gradients", f"data.packing={packing}", "model.tie_embeddings=false")
    [(expected, record)] = on_ranks(1, gradients, recipe)
    for found, found_record in on_ranks(ranks, gradients, recipe):
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            largest = np.abs(gradient).max()
            assert largest > 0, name
            assert np.abs(found[name] - gradient).max() <= ROUNDING * largest, name
        assert found_record["loss"] == record["loss"]  # the sum of the same losses in the same order
        assert found_record["bits_per_byte"] == record["bits_per_byte"]
        assert found_record["layers"] == record["layers"]
        assert found_record["stream_max"] == record["stream_max"]


def test_of_two_examples_on_two_ranks_they_are_the_same_bits(folder: Path) -> None:
    """Two numbers have one sum, whichever comes first, and no other rounding comes in between."""
    recipe = several_recipe(folder / "bits", "train.gradient_accumulation_steps=2")
    [(expected, _)] = on_ranks(1, gradients, recipe)
    for found, _ in on_ranks(2, gradients, recipe):
        assert all(np.array_equal(found[name], gradient) for name, gradient in expected.items())


def test_dropout_does_not_depend_on_the_number_of_ranks(folder: Path) -> None:
    recipe = several_recipe(folder / "dropout", "model.dropout=0.3", "evaluate.every=0")
    losses = [on_ranks(ranks, gradients, recipe)[0][1]["loss"] for ranks in (2, 3)]
    assert losses[0] == losses[1]


def test_the_ranks_do_the_steps_of_one_process_on_documents_of_uneven_lengths(
    folder: Path, alone: tuple[list[dict[str, Any]], list[list[int]]]
) -> None:
    expected, examples = alone
    assert len({len(example) for example in examples}) > 3
    done = on_ranks(2, trained, several_recipe(folder / "two"))
    assert in_order([taken for _, taken in done], 4) == examples
    for records, _ in done:
        assert [[each.get(key) for key in TIMELESS] for each in records] == [
            [each.get(key) for key in TIMELESS] for each in expected
        ]
        for found, record in zip(records, expected, strict=True):
            assert found["loss"] == pytest.approx(record["loss"], rel=1e-5)
    journal = list(read_journal(folder / "two" / "metrics.jsonl"))
    assert [each["step"] for each in journal] == [each["step"] for each in expected]
    assert len(list((folder / "two" / "samples").iterdir())) == len(list((folder / "alone" / "samples").iterdir()))


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_run_that_goes_on_gives_the_same_bits(folder: Path, ranks: int) -> None:
    whole, parts = (several_recipe(folder / f"{name} {ranks}", "model.dropout=0.1") for name in ("whole", "parts"))
    on_ranks(ranks, trained, whole)
    on_ranks(ranks, trained, parts, 2)
    on_ranks(ranks, trained, parts)
    assert same_bits(whole.output_dir, parts.output_dir)


def test_two_then_one_then_two_ranks_lose_no_document(
    folder: Path, alone: tuple[list[dict[str, Any]], list[list[int]]]
) -> None:
    recipe = several_recipe(folder / "changing")
    examples = []
    for ranks, until in ((2, 1), (1, 2), (2, None)):
        done = on_ranks(ranks, trained, recipe, until)
        examples += in_order([taken[: 4 // ranks] for _, taken in done], 4)
    assert examples == alone[1]
    found, expected = final_weights(recipe.output_dir), final_weights(folder / "alone")
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, rtol=1e-3, atol=1e-5), name


def test_a_sharded_optimizer_gives_the_same_bits_and_goes_on_with_any_number_of_ranks(folder: Path) -> None:
    whole, sharded = (
        several_recipe(folder / name, f"optimizer.sharded={word}")
        for name, word in (("kept", "false"), ("shared", "true"))
    )
    on_ranks(2, trained, whole)
    on_ranks(2, trained, sharded, 1)
    on_ranks(2, trained, sharded, 2)
    on_ranks(2, trained, sharded)
    assert same_bits(whole.output_dir, sharded.output_dir)
    [(records, _)] = on_ranks(1, trained, sharded)
    assert records == []
