"""`bench_core.py` at a tiny size: every operation is measured and counted."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

import bench_core
from bench.parts import parts_of
from bench.rates import measure_rates
from bench.shape import Shape, random_example

NAMES = {part.name for part in parts_of(Shape(256, layers=1), "fp32")}


def test_every_operation_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_core, "measure_rates", partial(measure_rates, matrix=128, copy_bytes=2**20))
    bench_core.main(precisions="fp32,bf16", tokens=256, layers=1, repeats=1, step_repeats=1, output=tmp_path)
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "core.json").read_text())
    assert content["rates"]["copy_bytes"] > 0
    for precision in ("fp32", "bf16"):
        assert content["rates"]["product_flops"][precision] > 0
        figures = content["precisions"][precision]
        assert figures["step_seconds"] > 0
        assert {part["name"] for part in figures["parts"]} == NAMES
        assert all(part["seconds"] > 0 for part in figures["parts"])
        assert f"{precision}, 256 tokens, 1 layers" in printed
    for name in NAMES:
        assert name in printed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_work_is_in_proportion_to_the_tokens(precision: str) -> None:
    whole_step = {"draw rotations", "optimizer (after the step)"}
    small, large = (list(parts_of(Shape(tokens, rounds=2), precision)) for tokens in (65536, 131072))
    for one, two in zip(small, large, strict=True):
        if one.name not in whole_step:
            assert two.bytes == 2 * one.bytes
        if one.name not in {*whole_step, "hash"}:  # a longer example has more buckets
            assert two.flops == 2 * one.flops


def test_the_flops_of_a_step_are_those_of_the_model() -> None:
    shape = Shape(65536)
    counted = sum(part.calls * part.flops for part in parts_of(shape, "fp32"))
    # A weight costs two FLOPs a token forwards, two rebuilt and four backwards.
    weights = shape.layers * (4 * shape.d_model**2 + 2 * shape.d_model * shape.d_ff)
    pairs = shape.layers * shape.heads * shape.rounds * shape.window
    least = shape.tokens * (8 * weights + 18 * pairs * shape.head_dim + 6 * shape.vocabulary * shape.d_model)
    assert least < counted < 1.05 * least


def test_examples_are_the_same_by_seed_and_as_frequent_as_text() -> None:
    shape = Shape(8192)
    inputs, targets = random_example(shape, 1)
    assert torch.equal(inputs, random_example(shape, 1)[0])
    assert not torch.equal(inputs, random_example(shape, 2)[0])
    assert torch.equal(inputs[1:], targets[:-1])
    counts = torch.bincount(inputs, minlength=shape.vocabulary)
    assert counts[0] > 3 * counts[10] > 9 * counts[100]
