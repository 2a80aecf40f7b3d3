"""Launches and memory traffic of the token-wise layers on CUDA, counted without a card."""

import json

import pytest
import torch
from typer.testing import CliRunner

from revlm.ops.triton import availability

if not availability.is_available():
    pytest.skip("there is no triton", allow_module_level=True)

import typer

import count_passes
from bench import passes
from revlm.ops import backends
from revlm.ops.squared_relu import squared_relu


def test_operations_and_kernels_count_what_they_read_and_write() -> None:
    x, table = torch.ones(8, 4), torch.ones(4, dtype=torch.float64)
    with passes.counted() as count:
        x.view(4, 8).transpose(0, 1)
        torch.empty(100)
        assert count.count == passes.Count()
        x + 1  # reads and writes 128 bytes
        x.zero_()  # writes 128
        x.add_(table.expand(8, 4))  # reads 128 and 32, writes 128
        assert count.count == passes.Count(3, 256 + 128 + 288)
        x @ x.T  # reads the 128 twice, writes 256
        assert count.count == passes.Count(4, 672, 512)
        with torch.no_grad():
            squared_relu(x)
        assert count.count == passes.Count(5, 928, 512)
        assert set(count.by_name) == {"add", "zero_", "add_", "mm", "_squared_relu"}
    assert backends.chosen(x.device) != "triton"


def test_a_kernel_whose_accesses_are_not_in_its_source_is_refused() -> None:
    def kernel(x, y):
        tl.store(x, tl.load(x))  # noqa: F821

    assert passes.accesses(kernel) == (frozenset("x"), frozenset("x"))


def test_token_wise_passes_of_the_usual_model_keep_to_their_budget() -> None:
    """At most 2.0 MB a token, and at most half of the 1,530 launches that unfused operations take."""
    app = typer.Typer()
    app.command()(count_passes.main)
    found = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert found["tile"] == 16384
    assert found["bytes_per_token"] <= 2.0e6
    assert found["launches"] <= 1530 // 2
    assert [row["in_model"] for row in found["sublayers"]] == [6, 6, 12]


def test_an_odd_number_of_layers_is_refused() -> None:
    app = typer.Typer()
    app.command()(count_passes.main)
    result = CliRunner().invoke(app, ["--layers", "3"])
    assert "--layers is 3" in str(result.exception)
