"""Every kernel compiled for cards that are not there."""

import json
import os
import subprocess
import sys
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
}

needs_triton = pytest.mark.skipif(not availability.is_available(), reason="there is no triton")


def compile_kernels(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    # The package lies beside the script's folder, which Python puts on the path.
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parent.parent), environment.get("PYTHONPATH", "")])
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, timeout=600)


def compiled(*arguments: str) -> list[dict]:
    done = compile_kernels(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["kernels"]


@needs_triton
@pytest.mark.parametrize("architecture", [pytest.param("80", marks=pytest.mark.slow), "90"])
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
    assert len(kernels) == 2 * 3 * 2 * 2 * (len(KERNELS) + 1)  # hashing with two numbers of buckets
    for each in kernels:
        # Products in float32 use every register; a few numbers more than there are may go through the cache.
        of_gradients = each["precision"] == "fp32" and each["kernel"] in ("query_gradients", "key_gradients")
        allowed = 16 if of_gradients or (each["kernel"] == "hash" and each["head_dim"] == 128) else 0
        assert each["spill_store_bytes"] <= allowed, each


@needs_triton
def test_wrong_use_is_one_sentence() -> None:
    done = compile_kernels("--precisions", "fp8")
    assert done.returncode == 2
    assert "--precisions has 'fp8'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
