"""Nothing of the working directory is imported or obeyed, whatever its files are called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from revlm.imports import inside, python_module, safe_path_in_children
from tests.report.builder import build_run

OF_OTHERS = ("numpy", "torch", "typer", "click", "pydantic", "pyarrow", "sentencepiece", "pip", "sitecustomize")
# `python -m` imports importlib, and so these, before it looks for the module that it shall run.
OF_PYTHON = {
    "importlib",
    "warnings",
    "contextlib",
    "collections",
    "functools",
    "keyword",
    "operator",
    "reprlib",
    "types",
}


SCRIPTS = Path(__file__).parent.parent / "scripts"
SCRIPT = str(Path(sys.executable).parent / "revlm")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with a file for every module of Python's own, and of others, that tells when it is run."""
    folder = tmp_path / "planted"
    folder.mkdir()
    for name in sys.stdlib_module_names.union(OF_OTHERS) - OF_PYTHON:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__ + '\\n')\n")
    (folder / "matplotlibrc").write_text("no such setting\xff: 1\n", encoding="latin-1")
    return folder


def run_there(folder: Path, command: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command in the planted folder, and asserts that it did its work and that nothing of the folder ran."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(command, cwd=folder, env=inherited | environment, capture_output=True, text=True)
    ran = folder.parent / "ran"
    assert not ran.exists(), ran.read_text()
    assert done.returncode == 0, done.stderr
    return done


def test_a_command_imports_nothing_from_the_working_directory(planted: Path) -> None:
    run_there(planted, [sys.executable, "-m", "revlm", "recipes", "demo"])
    for name in OF_PYTHON:
        shutil.copy(planted / "signal.py", planted / f"{name}.py")
    run_there(planted, [SCRIPT, "recipes", "demo"])
    run_there(planted, python_module("revlm", "recipes", "demo"))


def test_the_workers_of_tokenize_import_nothing_from_the_working_directory(planted: Path) -> None:
    (planted / "texts").mkdir()
    for name in ("one", "two"):
        (planted / "texts" / f"{name}.txt").write_text("It was the best of times. " * 50)
    options = ["--tokenizer", "bytes", "--workers", "2", "-o", "../tokens"]
    run_there(planted, [sys.executable, "-m", "revlm", "tokenize", "texts", *options])
    run_there(planted, [SCRIPT, "tokenize", "texts", *options])


@pytest.mark.slow
def test_a_measured_step_imports_nothing_from_the_working_directory(planted: Path) -> None:
    small = ["model.d_model=32", "model.n_heads=1", "model.d_ff=64", "model.n_layers=1", "data.seq_len=256"]
    run_there(planted, [sys.executable, "-m", "revlm", "plan", "demo", *small, "train.device=cpu", "--measure"])


def test_a_report_obeys_no_matplotlibrc_of_the_working_directory(planted: Path) -> None:
    build_run(planted / "run", 2)
    assert run_there(planted, [sys.executable, "-m", "revlm", "report", "run"]).stderr == ""


@pytest.mark.parametrize("script", ["draw_overview.py", "bench_peers.py"])
def test_a_script_obeys_no_matplotlibrc_of_the_working_directory(planted: Path, script: str) -> None:
    arguments = ["--help"] if script == "bench_peers.py" else ["--output", "overview.png"]
    run_there(planted, [sys.executable, str(SCRIPTS / script), *arguments])


def test_a_child_by_name_imports_nothing_from_the_working_directory(planted: Path) -> None:
    run_there(planted, python_module("sysconfig"))
    assert python_module("pip", 3)[1:] == ["-P", "-m", "pip", "3"]


@pytest.mark.parametrize("before", [None, "", "yes"])
def test_children_are_told_for_the_block_alone(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONSAFEPATH", before)
    with safe_path_in_children():
        child = subprocess.run([sys.executable, "-c", "import sys; print(sys.path)"], capture_output=True, text=True)
    assert "''" not in child.stdout
    assert os.environ.get("PYTHONSAFEPATH") == before


def test_the_process_comes_back_also_to_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    before = os.stat(".").st_ino
    with inside(tmp_path):
        assert Path.cwd() == tmp_path
    assert os.stat(".").st_ino == before
