import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from revlm.cli.report import report
from revlm.errors import StorageError
from tests.report.builder import build_run

app = typer.Typer()
app.command()(report)


def test_the_newest_run_is_reported_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_run(tmp_path / "runs" / "novels", 3)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [
        "  runs/novels/report.html",
        "  runs/novels/loss.png",
        "  runs/novels/memory.png",
    ]
    assert all(Path(line.strip()).exists() for line in result.stdout.splitlines()[1:])


@pytest.mark.usefixtures("undrawn")
def test_the_newest_run_may_be_one_of_a_sweep_and_one_run_has_no_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_run(tmp_path / "runs" / "rates-sweep" / "lr-1", 1)
    monkeypatch.chdir(tmp_path)
    content = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert [entry["run"] for entry in content["runs"]] == ["runs/rates-sweep/lr-1"]
    assert content["comparison"] is None


@pytest.mark.usefixtures("undrawn")
def test_several_runs_are_compared_once_each(tmp_path: Path) -> None:
    runs = [str(build_run(tmp_path / name, steps)) for name, steps in (("a", 2), ("b", 3))]
    result = CliRunner().invoke(app, [*runs, runs[0] + "/", "--json"])
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert [entry["run"] for entry in content["runs"]] == runs
    assert content["runs"][1]["figures"]["steps"] == 3
    assert content["comparison"]["page"] == str(tmp_path / "comparison.html")


def test_nothing_is_written_where_one_of_the_runs_is_none(tmp_path: Path) -> None:
    run = build_run(tmp_path / "a", 1)
    result = CliRunner().invoke(app, [str(run), str(tmp_path / "missing")])
    assert isinstance(result.exception, StorageError)
    assert not (run / "report.html").exists()


def test_help_shows_an_example() -> None:
    assert "Example: revlm report" in CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize("module", ["revlm.cli.report", "revlm.cli.terminal.display"])
def test_the_module_loads_nothing_heavy(module: str) -> None:
    heavy = {"torch", "matplotlib", "numpy", "pydantic"}
    program = f"import sys, {module}; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"
