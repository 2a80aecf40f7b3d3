import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch

import revlm
from revlm import cli, runs
from revlm.cli import COMMANDS, main
from revlm.cli.terminal.failures import failure_of
from revlm.errors import DataError, Interrupted, NonFiniteError, ResourceError, StorageError
from revlm.recipe import bundled_recipes, load_recipe
from revlm.runs import MemoryMeter, RunFolder, list_checkpoints, save_checkpoint
from tests.apart import run_apart

ROOT = Path(revlm.__file__).parent.parent


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    exit_code = main(arguments)
    captured = capsys.readouterr()
    return exit_code, captured.out, captured.err


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A working folder with one run, runs/demo, that has checkpoints of steps 1 to 3."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create("runs/demo")
    folder.write_recipe("data: {path: data/demo}\n")
    for step in (1, 2, 3):
        save_checkpoint(folder, step, {"model": {"w": torch.ones(step)}}, {}, keep_last=3)
    return folder


def test_help_names_every_command_and_loads_nothing_heavy():
    result = python(
        "import sys\n"
        "from revlm.cli import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'torch', 'datasets', 'pydantic', 'numpy', 'matplotlib', 'rich', 'yaml', 'sentencepiece'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    assert result.stderr == "[]\n"
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(capsys, name):
    exit_code, out, _ = run(capsys, name, "--help")
    assert exit_code == 0
    assert f"revlm {name} " in out.partition("Example")[2]


def described(command: Any) -> Iterator[tuple[str, str]]:
    """The help of each option and argument of a command and its subcommands, by name."""
    for subcommand in getattr(command, "commands", {}).values():
        yield from described(subcommand)
    yield from ((each.name, each.help) for each in command.params if getattr(each, "help", None))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_option_is_a_sentence(name):
    command = cast(Any, cli.app).info.cls(name="revlm").get_command(cast(Any, None), name)
    assert [(option, text) for option, text in described(command) if not re.fullmatch(r"[A-Z.].*\.", text)] == []


def test_no_command_is_help(capsys):
    assert run(capsys) == run(capsys, "--help")


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"revlm {revlm.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (["trian"], 2, "revlm: No such command 'trian'. Did you mean 'train'"),
        (["recipes", "--nope"], 2, "No such option: --nope (see `revlm recipes --help`)"),
        (["recipes", "dmeo"], 2, "did you mean demo?"),
        (["recipes", "bad.yaml"], 2, "model.widnow: unknown key, did you mean model.window?"),
        (["checkpoint"], 2, "Missing command (see `revlm checkpoint --help`)"),
        (["checkpoint", "prune", "--keep-last", "0"], 2, "--keep-last"),
        (["checkpoint", "export"], 2, "the target is missing or given twice"),
        (["tokenize", "missing"], 3, "missing"),
        (["checkpoint", "list"], 6, "no run under ./runs: train one first with `revlm train demo`"),
        (["checkpoint", "verify", "--run", "elsewhere"], 6, "no run in elsewhere"),
    ],
)
def test_bad_input_is_one_sentence_and_its_exit_code(capsys, tmp_path, monkeypatch, arguments, exit_code, sentence):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("data: {path: x}\nmodel: {widnow: 3}\n")
    found, out, err = run(capsys, *arguments)
    assert found == exit_code
    assert sentence in err
    assert "\n" not in err.strip()
    assert out == ""


@pytest.mark.parametrize("arguments", [["--debug", "recipes", "dmeo"], ["recipes", "dmeo", "--debug"]])
def test_debug_adds_the_traceback_before_and_after_the_command(capsys, arguments):
    exit_code, _, err = run(capsys, *arguments)
    assert exit_code == 2
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("revlm: ")


def cuda_out_of_memory() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")


@pytest.mark.parametrize(
    ("error", "exit_code", "words"),
    [
        (DataError("no text"), 3, "no text"),
        (ResourceError("too much"), 4, "too much"),
        (MemoryError(), 4, "out of memory"),
        (cuda_out_of_memory(), 4, "Tried to allocate 2 GiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 4, "lower data.seq_len"),
        (NonFiniteError("loss"), 5, "loss"),
        (StorageError("broken"), 6, "broken"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 6, "disk full at /a/b"),
        (Interrupted("stopped"), 75, "stopped"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 141, ""),
        (ZeroDivisionError("division by zero"), 1, "run again with --debug"),
        (
            UnicodeEncodeError("ascii", "a\u2014", 1, 2, "no"),
            2,
            "(ascii) cannot encode '\\u2014': set PYTHONIOENCODING=utf-8",
        ),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 1, "unexpected UnicodeEncodeError"),
        (RuntimeError(), 1, "unexpected RuntimeError (no message)"),
    ],
)
def test_every_kind_of_error_has_its_exit_code(capsys, monkeypatch, error, exit_code, words):
    failure = failure_of(error)
    assert failure.exit_code == exit_code
    assert words in failure.sentence
    assert "\n" not in failure.sentence

    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(cli, "_load", fail)
    found, _, err = run(capsys, "train")
    assert found == exit_code
    assert err == (f"revlm: {failure.sentence}\n" if failure.sentence else "")


def test_a_reader_that_leaves_is_not_an_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        result = subprocess.run(
            [sys.executable, "-m", "revlm", "recipes", "--schema"],
            cwd=ROOT,
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (result.returncode, result.stderr) == (141, "")


def test_recipes_are_listed_and_printed_as_they_are_written(capsys):
    _, out, _ = run(capsys, "recipes")
    assert [line.split()[0] for line in out.splitlines()] == list(bundled_recipes())
    assert run(capsys, "recipes", "demo")[1] == bundled_recipes()["demo"].read_text()
    assert json.loads(run(capsys, "recipes", "demo", "--json")[1]) == load_recipe("demo").model_dump(mode="json")
    assert set(json.loads(run(capsys, "recipes", "--json")[1])["recipes"]) == set(bundled_recipes())
    assert "$defs" in json.loads(run(capsys, "recipes", "--schema")[1])


def test_environment(capsys):
    shown = json.loads(run(capsys, "environment", "--json")[1])
    assert shown["packages"]["torch"] == torch.__version__
    assert "usable cores" in run(capsys, "environment")[1]


def test_checkpoints_are_listed_verified_exported_and_pruned(capsys, trained):
    listed = json.loads(run(capsys, "checkpoint", "list", "--json")[1])["checkpoints"]
    assert [Path(row["path"]).name for row in listed] == ["step-00000001", "step-00000002", "step-00000003"]
    assert run(capsys, "checkpoint", "verify")[1].count("  intact\n") == 3

    assert run(capsys, "checkpoint", "export", "w.safetensors", "--run", "runs/demo", "--step", "2")[0] == 0
    assert run(capsys, "checkpoint", "export", "w.safetensors")[0] == 6  # it exists

    broken = list_checkpoints(trained)[-1]
    (broken / "state.json").write_text("[]")
    exit_code, out, err = run(capsys, "checkpoint", "verify")
    assert exit_code == 6
    assert "state.json has 2 of" in out
    assert "1 of 3 checkpoints of runs/demo are damaged" in err
    assert run(capsys, "checkpoint", "export", "newest.safetensors")[2].startswith("skipped")

    removed = json.loads(run(capsys, "checkpoint", "prune", "--keep-last", "1", "--json")[1])["removed"]
    assert [Path(path).name for path in removed] == ["step-00000001", "step-00000003"]
    assert [path.name for path in list_checkpoints(trained)] == ["step-00000002"]


def test_a_checkpoint_that_vanishes_meanwhile_is_not_listed(capsys, trained, monkeypatch):
    found = list_checkpoints(trained)
    monkeypatch.setattr(runs, "list_checkpoints", lambda run: [*found, found[0].with_name("step-00000004")])
    exit_code, out, _ = run(capsys, "checkpoint", "list", "--json")
    assert exit_code == 0
    assert [row["path"] for row in json.loads(out)["checkpoints"]] == [str(path) for path in found]


def test_pruning_keeps_those_of_every_few_steps(capsys, trained):
    assert run(capsys, "checkpoint", "prune", "--keep-last", "1", "--keep-every", "2")[0] == 0
    assert [path.name for path in list_checkpoints(trained)] == ["step-00000002", "step-00000003"]


def test_pruning_a_run_in_use_is_refused(capsys, trained):
    with trained.lock():
        exit_code, _, err = run(capsys, "checkpoint", "prune", "--keep-last", "1")
    assert exit_code == 6
    assert f"in use by process {os.getpid()}" in err
    assert len(list_checkpoints(trained)) == 3


def test_generate_prints_nothing_where_there_is_no_run(capsys, tmp_path):
    exit_code, out, err = run(capsys, "generate", "--run", str(tmp_path), "--prompt", "It was")
    assert (exit_code, out) == (6, "")
    assert f"no run in {tmp_path}" in err


def test_products_of_many_lengths_leave_little_memory_behind() -> None:
    """Each length has kernels of its own; where all are kept, they were 239 MB after these products."""
    assert run_apart(_bytes_left_by_products_of_many_lengths) < 100 * 2**20


def _bytes_left_by_products_of_many_lengths() -> int:
    main(["--version"])
    weight = torch.zeros(256, 256, dtype=torch.bfloat16)
    meter = MemoryMeter("cpu")
    for length in range(1000, 1400):
        torch.nn.functional.linear(torch.zeros(length, 256, dtype=torch.bfloat16), weight)
    return meter.current_bytes() - meter.baseline_bytes
