import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from revlm.cli.terminal import progress as progress_module
from revlm.cli.terminal.streams import guarded_streams
from revlm.cli.tokenize import default_output, tokenize
from revlm.errors import DataError, UsageError

TEXT = "The keeper counted the ships twice, once at dusk [and] once before sleep.\r\n"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "small [texts]"
    folder.mkdir()
    (folder / "first.txt").write_bytes(TEXT.encode() * 20)
    (folder / "second.txt").write_bytes(TEXT.encode() * 3)
    (folder / "notes.csv").touch()
    return folder


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(tokenize)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_table_and_what_was_skipped_go_to_standard_output(corpus: Path) -> None:
    result = run(corpus, "--vocab-size", 300)
    assert result.exit_code == 0, result.output
    for word in ("first", "second", "2 documents", "23 CRLF line ends", "skipped notes.csv: not a text file"):
        assert word in result.stdout
    assert Path("data/small [texts]/manifest.json").exists()
    assert "data/small [texts]:" in result.stdout


def test_json_is_one_object_that_agrees_with_the_store(corpus: Path, tmp_path: Path) -> None:
    result = run(corpus, "-o", tmp_path / "store", "--tokenizer", "bytes", "--json")
    summary = json.loads(result.stdout)
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert summary["output_dir"] == str(tmp_path / "store")
    assert summary["tokens"] == manifest["tokens"] == 23 * (len(TEXT) - 1)
    assert [document["source"] for document in summary["documents"]] == ["first.txt", "second.txt"]
    assert len(summary["skipped"]) == manifest["skipped"] == 1
    assert summary["cleaning"]["crlf_line_ends"] == 23


def test_errors_keep_their_exit_codes(corpus: Path) -> None:
    result = run(corpus, "--vocab-size", 20)
    assert isinstance(result.exception, UsageError)
    assert "smallest that works" in str(result.exception)
    (corpus / "latin.txt").write_bytes(b"\xe9")
    result = run(corpus)
    assert isinstance(result.exception, DataError)
    assert "byte offset 0" in str(result.exception)
    result = run(corpus, "--tokenizer", "bytes", "--errors", "skip")
    assert result.exit_code == 0
    assert "skipped latin.txt: is not UTF-8" in result.stdout
    assert run(corpus, "--errors", "ignore").exit_code == 2


def test_the_default_output_has_the_name_of_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "novels.v2").mkdir()
    (tmp_path / "keeper.txt").touch()
    assert default_output(str(tmp_path / "novels.v2")) == Path("data/novels.v2")
    assert default_output(str(tmp_path / "keeper.txt")) == Path("data/keeper")
    assert default_output("hf:owner/name") == Path("data/name")
    monkeypatch.chdir(tmp_path / "novels.v2")
    assert default_output(".") == Path("data/novels.v2")


def test_the_default_output_of_a_pattern_has_the_name_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "novels" / "new").mkdir(parents=True)
    (tmp_path / "novels" / "new [1]").touch()
    monkeypatch.chdir(tmp_path / "novels")
    for pattern in ("new/*.txt", "new/**/k*.txt", "new/keeper?.txt"):
        assert default_output(pattern) == Path("data/new")
        assert default_output(pattern, "-3-of-4") == Path("data/new-3-of-4")
    assert default_output("*.txt") == default_output("[a-k]*") == Path("data/novels")
    assert default_output("new [1]") == Path("data/new [1]")


def test_the_title_in_work_is_shown_without_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    with guarded_streams(), progress_module.TokenizeProgress() as progress:
        progress.show(1, 2, "\x1b[2Jcalm")
    told = capsys.readouterr().err
    assert "\N{REPLACEMENT CHARACTER}[2Jcalm" in told
    assert "\x1b" not in told


def test_help_shows_an_example_and_the_module_loads_nothing_heavy() -> None:
    assert "revlm tokenize novels -o data/novels" in " ".join(run("--help").stdout.split())
    heavy = ("torch", "numpy", "datasets", "sentencepiece", "pyarrow")
    code = f"import sys, revlm.cli.tokenize; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
