"""Every option and argument that is a path reads `~` and refuses what no file system holds, in the same words."""

from pathlib import Path

import pytest

from revlm.cli import main
from tests.tiny_run import write_run, write_texts

OPTIONS = [
    ["checkpoint", "list", "--run", "{}"],
    ["checkpoint", "verify", "--run={}"],
    ["checkpoint", "export", "{}"],
    ["checkpoint", "prune", "--keep-last", "1", "--run", "{}"],
    ["data", "show", "{}"],
    ["data", "merge", "{}", "-o", "x"],
    ["data", "merge", "x", "--output={}"],
    ["evaluate", "--run", "{}"],
    ["evaluate", "--data", "{}"],
    ["fetch", "moby-dick", "-o", "{}"],
    ["generate", "--run", "{}", "--prompt", "x"],
    ["generate", "--prompt-file", "{}"],
    ["plan", "demo", "--sweep", "model.n_layers=1", "-" + "-output={}"],
    ["report", "{}"],
    ["tokenize", "{}"],
    ["tokenize", "x", "-o", "{}"],
    ["tokenize", "x", "--tokenizer={}"],
]
KEYS = [
    "output_dir={}", "data.path={}", "data.path=[{}]", "data.path=[{{path: {}, weight: 1}}]",
    "data.tokenizer={}", "data.stream={}", "data.stream={{corpus: {}}}",
]  # fmt: skip


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "a\udcff"], ids=["long name", "long path", "not UTF-8"])
@pytest.mark.parametrize("arguments", OPTIONS + [["train", "demo", key] for key in KEYS], ids=" ".join)
def test_a_name_that_no_file_has_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([each.format(name) for each in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("revlm: ")
    assert "should be a path" in err or "has no YAML value" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "a\udcff", "a\0b", "/dev/zero", "/", "."])
def test_a_recipe_that_no_file_is_is_one_sentence(capsys: pytest.CaptureFixture[str], name: str) -> None:
    for command in ("train", "plan", "recipes"):
        assert main([command, name]) == 2
        assert "no recipe file and no bundled recipe" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_home_is_found_wherever_a_path_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # what is compiled once stays there
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    run = write_run(tmp_path / "home" / "run")
    write_texts(tmp_path / "home" / "texts")
    (tmp_path / "home" / "prompt.txt").write_text("the old")
    for arguments in (
        ["tokenize", "~/texts", "-o", "~/tok", "--tokenizer", "bytes"],
        ["tokenize", "~/texts/*.txt", "--output=~/again", "--tokenizer=~/tok"],
        ["data", "show", "~/tok"],
        ["data", "merge", "~/tok", "~/again", "-o", "~/both"],
        ["checkpoint", "list", "--run=~/run"],
        ["checkpoint", "export", "~/weights.safetensors", "--run", "~/run"],
        ["generate", "--run", "~/run", "--prompt-file", "~/prompt.txt", "--max-tokens", "1"],
        ["evaluate", "--run", "~/run", "--data", "~/tok"],
        ["report", "~/run"],
        ["plan", "~/run.yaml", "data.path=~/tok", "--sweep", "model.n_layers=1,2", "--output=~/sweep.png"],
        ["train", "~/run.yaml", "data.path=[~/tok]", "output_dir=~/new", "train.max_steps=1"],
    ):
        assert main(arguments) == 0, (arguments, capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]
    made = {"tok", "again", "both", "weights.safetensors", "sweep.png", "new"}
    assert made <= {path.name for path in (tmp_path / "home").iterdir()}
    assert (run / "report.html").exists()
