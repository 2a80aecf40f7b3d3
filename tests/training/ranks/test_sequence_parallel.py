"""Processes that share each example give what one gives: gradients, records, weights, at any number of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from revlm.model.parts.whitening import isotropic_moments
from revlm.recipe import Recipe
from tests.several import on_ranks
from tests.tiny_run import write_tokens
from tests.training.ranks_at_work import final_weights, gradients, in_order, several_recipe, trained

ROUNDING = 1e-5
"""Of the largest gradient of a parameter: float32 sums taken in another order."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequence")
    write_tokens(folder / "tokens")
    return folder


def shared_recipe(folder: Path, ranks: int, *overrides: str) -> Recipe:
    """All kinds of layers, with dropout, accumulation, a schedule of lengths and evaluation of whole documents."""
    return several_recipe(
        folder,
        "model.n_heads=4",
        "model.d_model=32",
        "model.n_layers=3",
        "model.layers=[local, lsh, full]",
        "model.dropout=0.2",
        "data.seq_len_schedule=[[0, 300], [2, 700]]",
        "train.tile=64",
        f"train.sequence_parallel={ranks}",
        *overrides,
    )


def assert_same_gradients(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        largest = np.abs(gradient).max()
        assert largest > 0, name
        assert np.abs(found[name] - gradient).max() <= ROUNDING * largest, name


@pytest.fixture(scope="module")
def alone(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    [done] = on_ranks(1, gradients, shared_recipe(folder / "gradients", 1))
    return done


@pytest.mark.parametrize(
    ("processes", "ranks"),
    [(2, 2), pytest.param(4, 4, marks=pytest.mark.slow), pytest.param(4, 2, marks=pytest.mark.slow)],
)
def test_a_step_is_that_of_one_process(
    folder: Path, alone: tuple[dict[str, np.ndarray], dict[str, Any]], processes: int, ranks: int
) -> None:
    expected, record = alone
    for found, found_record in on_ranks(processes, gradients, shared_recipe(folder / "gradients", ranks)):
        assert_same_gradients(found, expected)
        assert found_record["tokens"] == record["tokens"]
        assert found_record["documents"] == record["documents"]
        assert found_record["loss"] == pytest.approx(record["loss"], rel=1e-6)
        assert found_record["stream_max"] == record["stream_max"]
        for layer, of_one in zip(found_record["layers"], record["layers"], strict=True):
            assert layer == pytest.approx(of_one, rel=1e-5)


@pytest.mark.parametrize(("processes", "ranks"), [(2, 2), pytest.param(4, 2, marks=pytest.mark.slow)])
def test_hashes_are_whitened_by_the_heads_of_all_ranks(folder: Path, processes: int, ranks: int) -> None:
    options = ("train.max_steps=1", "evaluate.prompts=[]")
    together, alone = (
        shared_recipe(folder / f"whitened {processes} {number}", number, *options) for number in (ranks, 1)
    )
    on_ranks(processes, trained, together)
    on_ranks(1, trained, alone)
    found, expected = (final_weights(each.output_dir)["model.key_moments_1"] for each in (together, alone))
    assert not torch.equal(expected, isotropic_moments(*expected.shape[:2]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "changes",
    [[(2, 2), (1, 1), (2, 2)], pytest.param([(4, 4), (2, 2), (1, 1), (4, 2)], marks=pytest.mark.slow)],
    ids=["2-1-2", "4-2-1-4"],
)
def test_a_run_goes_on_with_any_number_of_ranks(folder: Path, changes: list[tuple[int, int]]) -> None:
    """It takes the same examples; its weights are those of one process to rounding, which steps make grow."""
    name, options = f"changing {len(changes)}", ("optimizer.sharded=true", "train.max_steps=4", "evaluate.prompts=[]")
    examples: list[list[int]] = []
    losses: dict[int, float] = {}
    for turn, (processes, ranks) in enumerate(changes, start=1):
        until = None if turn == len(changes) else turn
        recipe = shared_recipe(folder / name, ranks, *options)
        done = on_ranks(processes, trained, recipe, until)
        groups = processes // ranks
        assert all(taken == done[rank // ranks * ranks][1] for rank, (_, taken) in enumerate(done))
        steps = 1 if until else 4 - turn + 1
        of_groups = [taken[: steps * 4 // groups] for _, taken in done[::ranks]]
        examples += in_order(of_groups, 4)
        losses |= {record["step"]: record["loss"] for record in done[0][0] if record["event"] == "step"}
    undisturbed = shared_recipe(folder / f"{name} undisturbed", 1, *options)
    [(records, taken)] = on_ranks(1, trained, undisturbed)
    assert examples == taken
    for record in records:
        if record["event"] == "step":
            assert losses[record["step"]] == pytest.approx(record["loss"], rel=1e-4)
    found, expected = final_weights(folder / name), final_weights(undisturbed.output_dir)
    for key, tensor in expected.items():
        assert torch.allclose(found[key], tensor, rtol=1e-2, atol=1e-4), key


@pytest.mark.slow
def test_a_run_that_goes_on_gives_the_same_bits(folder: Path) -> None:
    whole, parts = (shared_recipe(folder / name, 2) for name in ("whole", "parts"))
    on_ranks(4, trained, whole)
    on_ranks(4, trained, parts, 2)
    on_ranks(4, trained, parts)
    first, second = final_weights(whole.output_dir), final_weights(parts.output_dir)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.slow
def test_evaluation_and_examples_of_fewer_tokens_than_ranks(folder: Path) -> None:
    """Documents that are shorter than the ranks are many belong to the first of them."""
    short = folder / "short"
    short.mkdir()
    (short / "texts").mkdir()
    for number in range(12):
        (short / "texts" / f"{number}.txt").write_text("ab"[: 1 + number % 2] + "c" * (number // 3))
    from revlm.corpus import tokenize_corpus

    tokenize_corpus(short / "texts", short / "tokens", tokenizer="bytes")
    options = ("data.seq_len=4", "data.seq_len_schedule=null", "evaluate.every=1", "evaluate.prompts=[]")
    losses = []
    for ranks in (1, 4):
        [(records, _), *_] = on_ranks(ranks, trained, shared_recipe(short / f"run {ranks}", ranks, *options))
        losses.append([record["loss"] for record in records])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.slow
def test_ranks_start_from_the_weights_of_another_run(folder: Path) -> None:
    options = ("train.max_steps=1", "evaluate.every=0")
    on_ranks(1, trained, shared_recipe(folder / "before", 1, *options))
    losses = []
    for ranks in (1, 2):
        recipe = shared_recipe(folder / f"from {ranks}", ranks, f"train.start_from={folder / 'before'}", *options)
        [(records, _), *_] = on_ranks(ranks, trained, recipe)
        losses.append(records[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
