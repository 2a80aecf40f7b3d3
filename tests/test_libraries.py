"""What PyTorch's libraries read from the environment, and which libraries a run leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from revlm.cli import main
from revlm.libraries import set_library_defaults
from tests.tiny_run import tiny_recipe, write_tokens

DEFAULTS = {
    "GOMP_SPINCOUNT": "1000",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
}


def test_defaults_are_set_where_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    environment: dict[str, str] = {}
    set_library_defaults(environment)
    assert environment == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "default"),
    [
        *((name, name) for name in DEFAULTS),
        ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"),
        ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"),
    ],
)
def test_what_the_user_has_set_stays(variable: str, default: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    environment = {variable: "of the user"}
    set_library_defaults(environment)
    assert environment == {name: value for name, value in DEFAULTS.items() if name != default} | {
        variable: "of the user"
    }


def test_the_command_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # put back when the test ends
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    main(["--version"])
    assert os.environ["GOMP_SPINCOUNT"] == "1000"


def test_a_benchmark_starts_again_with_them() -> None:
    code = "import os; from bench.command import run; run(lambda: print(os.environ['GOMP_SPINCOUNT']))"
    environment = {name: value for name, value in os.environ.items() if name not in {*DEFAULTS, "OMP_WAIT_POLICY"}}
    environment["PYTHONPATH"] = os.pathsep.join(["scripts", "."])
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1000\n"


def test_the_usual_commands_import_no_compiler_of_pytorch_and_no_data_frames(tmp_path: Path) -> None:
    """PyTorch and Arrow import both by themselves in many calls: seconds and 150 MB in each process."""
    write_tokens(tmp_path / "tokens")
    (tmp_path / "text.txt").write_text("the keeper counted ships\n")
    tiny_recipe(tmp_path / "run", "optimizer.name=muon")  # writes run.yaml
    program = """
import sys
from revlm.cli import main
assert main(["tokenize", "text.txt", "-o", "text", "--tokenizer", "bytes"]) == 0
assert main(["train", "run.yaml", "data.path=tokens", "output_dir=run", "optimizer.name=muon"]) == 0
assert main(["evaluate", "--run", "run"]) == 0
assert main(["generate", "--run", "run", "--prompt", "the", "--max-tokens", "2"]) == 0
unwanted = {"torch._dynamo", "pandas", "datasets", "datasketch", "scipy", "matplotlib", "transformers"}
print(sorted(unwanted & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
