"""The replayed step holds what a real one asks the allocator for."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import record_function

from revlm.corpus import Example
from revlm.model import RevLM, resolve_model
from revlm.planning.sizes import sizes_of
from revlm.planning.step import replay_step
from revlm.recipe import Recipe
from revlm.training.optimization import make_optimizer
from revlm.training.ranks import Ranks
from revlm.training.step import Totals, TrainStep
from tests.allocations import MIB, peaks
from tests.head_groups import take_heads_in

VOCAB_SIZE = 500
SMALL = {"d_model": 64, "n_layers": 2, "n_heads": 2, "d_ff": 256, "window": 32, "n_rounds": 2}


def recipe(seq_len: int, precision: str = "fp32", micro_batches: int = 1, tile: int = 1024, **model: object) -> Recipe:
    return Recipe.model_validate(
        {
            "output_dir": "run",
            "model": SMALL | model,
            "data": {"path": "tokens", "seq_len": seq_len},
            "train": {"precision": precision, "gradient_accumulation_steps": micro_batches, "tile": tile},
        }
    )


class PhaseNames:
    """Stands in for `MemoryMeter`: names the phases for the profiler."""

    phase = record_function


def real_step(recipe: Recipe) -> dict[str, int]:
    """The peaks of the training step beyond its weights, optimizer state and tokens."""
    tokens, ranks = recipe.data.seq_len, Ranks()
    model = RevLM(resolve_model(recipe.model, tokens), vocab_size=VOCAB_SIZE, seed=0, tile=recipe.train.tile)
    inputs, targets = torch.randint(0, VOCAB_SIZE, (2, tokens), dtype=torch.int32).numpy()
    document_ids = (np.arange(tokens) >= tokens // 2).astype(np.int32)
    example = Example(inputs, targets, document_ids, ("random tokens",), epoch=1, target_bytes=tokens)
    examples = [example] * recipe.train.gradient_accumulation_steps
    totals = Totals.of(examples, ranks)
    meter: Any = PhaseNames()
    train_step = TrainStep(recipe, model, make_optimizer(model, recipe, ranks), ranks, meter, lambda: None)
    return peaks(lambda: train_step.update(examples, 0, totals, 1e-3), "forward", "backward")


@pytest.mark.parametrize(
    "example",
    [
        recipe(16384, tile=2048),
        recipe(8192, "bf16"),
        recipe(8192, "bf16", d_model=32, d_ff=64, n_layers=5, tile=4096),
        recipe(2048, "fp32", 2, layers=("local",), dropout=0.1, tie_embeddings=False),
        recipe(4096, reversible=False),
        recipe(4096, "bf16", reversible=False, n_layers=3, dropout=0.1),
        recipe(2048, "fp32", reversible=False, layers=("lsh",), successor_values=False),
        recipe(2048, "bf16", layers=("full", "lsh"), tile=700),
        recipe(1024, "bf16", 3, d_model=96, d_ff=384, n_layers=2),
    ],
    ids=lambda example: f"{example.data.seq_len} {example.train.precision} {'-'.join(example.model.layers)}",
)
def test_the_plan_is_what_a_step_asks_for(example: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    # The compiled attention asks the system and not PyTorch's allocator; tests/ops/test_workspaces.py measures it.
    monkeypatch.setenv("REVLM_BACKEND", "pytorch")
    assert_planned(example)


@pytest.mark.parametrize(
    "example",
    [
        recipe(8192, tile=2048),
        recipe(4096, "bf16"),
        recipe(2048, "bf16", reversible=False, n_layers=3, n_heads=4, dropout=0.1),
        recipe(2048, "bf16", layers=("full", "lsh"), tile=700),
        recipe(4096, "fp32", layers=("full",), successor_values=False, n_heads=4),
    ],
    ids=lambda example: f"{example.data.seq_len} {example.train.precision} {'-'.join(example.model.layers)}",
)
def test_the_plan_is_what_a_step_with_heads_in_groups_asks_for(
    example: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVLM_BACKEND", "pytorch")
    take_heads_in(2, monkeypatch)
    assert_planned(example)


def assert_planned(example: Recipe) -> None:
    sizes = sizes_of(example, VOCAB_SIZE, "cpu")
    planned, lasting = replay_step(sizes).peaks, 4 * 3 * sizes.parameters
    lasting += 4 * sizes.rotations + 12 * sizes.tokens * (sizes.micro_batches + sizes.examples_ahead)
    real = real_step(example)
    # Backwards the small part of attention's work space that does not grow with the tokens is a bound.
    for phase, relative, absolute in (("forward", 0.02, MIB / 4), ("backward", 0.035, 1.2 * MIB)):
        found = sum(planned[phase].values()) - lasting
        assert found == pytest.approx(real[phase], rel=relative, abs=absolute), phase


@pytest.mark.parametrize("layers", [("local",), ("lsh",), ("full",), ("lsh", "local", "full")])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_and_rotations_are_those_of_the_model(layers: tuple[str, ...], tied: bool) -> None:
    example = recipe(1024, layers=layers, n_layers=3, tie_embeddings=tied, successor_values=tied)
    model = RevLM(resolve_model(example.model, 1024), vocab_size=VOCAB_SIZE, seed=0)
    sizes = sizes_of(example, VOCAB_SIZE, "cpu")
    assert sizes.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sizes.rotations == sum(buffer.numel() for buffer in model.buffers())
