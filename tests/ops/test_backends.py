"""One choice of backend for every operation: by the device, the environment, or a block of a test."""

import pytest
import torch

from revlm.errors import UsageError
from revlm.ops import backends
from revlm.ops.compiled import library

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
OPERATIONS = ("hashing", "normalization", "fixed_point", "linear_cross_entropy")


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
def test_on_a_cpu_it_is_compiled_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backends.chosen(CPU) == backends.planned("cpu") == "compiled"
    monkeypatch.setenv("REVLM_COMPILER", "none")
    assert backends.chosen(CPU) == backends.planned("cpu") == "pytorch"


def test_a_block_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.VARIABLE, "pytorch")
    assert backends.chosen(CPU) == backends.planned("cpu") == backends.planned("cuda") == "pytorch"
    with backends.using("auto"):
        assert backends.planned("cpu") == ("compiled" if library.is_available() else "pytorch")
    assert backends.chosen(CPU) == "pytorch"


def test_a_word_that_is_none_of_them_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.VARIABLE, "cuda")
    with pytest.raises(UsageError, match="REVLM_BACKEND is 'cuda': give one of auto, compiled, triton, pytorch"):
        backends.chosen(CPU)


@pytest.mark.parametrize(
    ("backend", "device", "reason"),
    [
        ("compiled", CUDA, "for the CPU"),
        ("compiled", CPU, "needs a C.. compiler"),
        ("triton", CPU, "(CUDA|import triton)"),
    ],
)
def test_one_that_cannot_be_here_is_refused_with_the_reason(
    backend: str, device: torch.device, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVLM_COMPILER", "none")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setenv(backends.VARIABLE, backend)
    with pytest.raises(UsageError, match=f"backend '{backend}' .*{reason}"):
        backends.chosen(device)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_backend_is_not_made_for_is_done_by_pytorch(operation: str) -> None:
    name = f"revlm.ops.{operation}"
    with backends.using("pytorch"):
        assert backends.implementation(name, CPU).__name__ == f"{name}.reference"
    if library.is_available():
        assert backends.implementation(name, CPU).__name__ == f"{name}.compiled"
    if operation == "normalization":
        assert backends.implementation(name, CPU, torch.ones(3, 1, 8).double(), None, torch.float64).__name__ == (
            f"{name}.reference"
        )
