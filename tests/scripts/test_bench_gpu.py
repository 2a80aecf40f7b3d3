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


def test_a_missing_package_is_named_with_the_commands_that_bring_it() -> None:
    """In a Python without any packages."""
    done = subprocess.run([sys.executable, "-I", "-S", str(SCRIPT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "pip install torch numpy jaxtyping pydantic pyyaml (without a network, first pip download" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_but_the_named_packages_is_imported() -> None:
    """The imports of every work, where any other package that revlm uses cannot be imported."""
    code = f"""
import sys
sys.path[:0] = [{str(SCRIPT.parent)!r}, {str(SCRIPT.parent.parent)!r}]
for name in ("typer", "rich", "datasets", "pyarrow", "psutil", "scipy", "lxml", "safetensors", "sentencepiece",
             "huggingface_hub", "transformers", "matplotlib", "jinja2", "PIL", "datasketch", "charset_normalizer"):
    sys.modules[name] = None
import bench_gpu, bench.gpu.correctness, bench.gpu.results, bench.gpu.summary, bench.gpu.worker, revlm.model.utilization
for system in bench.gpu.worker.SYSTEMS:
    if bench.gpu.worker.SYSTEMS[system].requires in ("revlm", "torch"):
        bench.gpu.worker.SYSTEMS[system].load()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_on_a_cpu_it_can_be_tried_out_and_resumes(tmp_path: Path) -> None:
    sizes = ("--d-model", "64", "--layers", "1", "--lengths", "256,1073741824", "--detail-tokens", "128")
    arguments = ("--device", "cpu", *sizes, "--seconds", "850", "--part-seconds", "850", "--output", str(tmp_path))
    done = run_script(*arguments)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    statuses = [row["result"]["status"] for row in content["results"]]
    assert (set(statuses[:-4]), statuses[-4], set(statuses[-3:])) == ({"done"}, "failed", {"left_out"}), done.stderr
    assert "does not support backward on CPU" in content["results"][-4]["result"]["cause"]
    assert done.stdout.count("right  ") == content["head"]["checks"] == 16
    for name in ("gpu-speed.png", "gpu-memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    again = run_script(*arguments, "--seconds", "20")
    assert "right  " not in again.stdout
    assert json.loads((tmp_path / "gpu.json").read_text())["results"][:-4] == content["results"][:-4]
