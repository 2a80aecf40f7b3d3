import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bench_gpu as script

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "bench_gpu.py"


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_it_says_so_in_one_sentence() -> None:
    done = run_script()
    assert done.returncode == 2
    assert "PyTorch finds no CUDA device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "words"), [("--systems=other", "--systems has 'other'"), ("--lengths=many", "'many'")]
)
def test_wrong_use_is_told(
    option: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), option])
    with pytest.raises(SystemExit, match="2"):
        script.main()
    assert words in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    """In a Python without any packages."""
    done = subprocess.run([sys.executable, "-I", "-S", str(SCRIPT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "pip install torch numpy jaxtyping pydantic pyyaml" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_on_a_cpu_it_can_be_tried_out(tmp_path: Path) -> None:
    sizes = ("--d-model", "64", "--layers", "2", "--lengths", "256,512,1073741824")
    done = run_script("--device", "cpu", *sizes, "--seconds", "600", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert {row["status"] for row in content["rows"][:6]} == {"done"}
    assert {row["status"] for row in content["rows"][6:]} == {"left_out"}
    assert " 0 s are left" not in done.stdout
    assert done.stdout.count("right  ") == 16
    for name in ("gpu-speed.png", "gpu-memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
