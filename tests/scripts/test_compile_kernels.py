"""Every kernel compiled for cards that are not there."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from revlm.ops.triton import availability

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "compile_kernels.py"
KERNELS = {
    "forward",
    "query_gradients",
    "key_gradients",
    "order",
    "hash",
    "normalize",
    "normalize_gradients",
    "split",
    "unit_gradients",
    "table",
    "squared_relu",
    "add",
    "write_gradient",
    "add_predecessors",
    "predecessor_gradients",
}

needs_triton = pytest.mark.skipif(not availability.is_available(), reason="there is no triton")


def compile_kernels(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    # The package lies beside the script's folder, which Python puts on the path.
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parent.parent), environment.get("PYTHONPATH", "")])
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, timeout=3600)


def compiled(*arguments: str) -> list[dict]:
    done = compile_kernels(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["kernels"]


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["80", "90"])
def test_every_kernel_compiles_and_keeps_its_numbers_in_registers(architecture: str) -> None:
    options = ("--head-dims", "64", "--precisions", "bf16", "--rounds", "2")
    kernels = compiled("--architectures", architecture, *options)
    assert {each["kernel"] for each in kernels} == KERNELS
    for each in kernels:
        assert 0 < each["registers"] <= 255
        assert each["shared_bytes"] < 100_000
        assert each["spill_store_bytes"] == each["spill_load_bytes"] == 0, each


@needs_triton
@pytest.mark.slow
def test_no_kernel_spills_much_whatever_the_heads_and_the_precision() -> None:
    kernels = compiled()
    inputs = Counter(
        (each["kernel"], each["architecture"], *of)
        for each in kernels
        for of in product(each["precisions"], each["head_dims"], each["rounds"])
    )
    times = {name: 2 if name == "hash" else 1 for name in KERNELS}  # hashing with two numbers of buckets
    every = product(KERNELS, (80, 90), ("bf16", "fp32"), (32, 64, 128), (1, 4))
    assert inputs == {each: times[each[0]] for each in every}
    assert len(kernels) < inputs.total() * 2 / 3  # what serves many inputs is compiled once
    for each in kernels:
        # Gradients, and products in float32, use every register; a few numbers more may go through the cache.
        of_gradients = each["kernel"] in ("query_gradients", "key_gradients")
        allowed = 16 if of_gradients or (each["kernel"] == "hash" and each["head_dims"] == [128]) else 0
        assert each["spill_store_bytes"] <= allowed, each


@needs_triton
def test_chosen_kernels_are_compiled_once_and_printed_row_by_row() -> None:
    options = ("--architectures", "90", "--head-dims", "32,64", "--precisions", "bf16", "--rounds", "1,2")
    done = compile_kernels("--kernels", "order,write_gradient", *options)
    assert done.returncode == 0, done.stderr
    _, *rows = (line.split() for line in done.stdout.splitlines())
    assert [row[:5] for row in rows] == [
        ["order", "90", "bf16", "32,64", "1,2"],
        ["write_gradient", "90", "bf16", "32", "1,2"],
        ["write_gradient", "90", "bf16", "64", "1,2"],
    ]


@needs_triton
@pytest.mark.parametrize(("option", "word"), [("--precisions", "fp8"), ("--kernels", "attention")])
def test_wrong_use_is_one_sentence(option: str, word: str) -> None:
    done = compile_kernels(option, word)
    assert done.returncode == 2
    assert f"{option} has {word!r}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
