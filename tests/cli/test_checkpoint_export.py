"""`revlm checkpoint export`: a file of weights, or a folder for transformers."""

import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from revlm.cli import main
from tests.tiny_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("export") / "run", "train.max_steps=1")


@pytest.mark.parametrize("option", [(), ("-o",)])
def test_the_file_is_named_in_either_way(
    run: Path, tmp_path: Path, option: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "weights.safetensors"
    assert main(["checkpoint", "export", *option, str(target), "--run", str(run)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    with safe_open(target, "pt") as weights:
        assert "embedding.weight" in weights.keys()  # noqa: SIM118 - it is no dictionary


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "missing or given twice"),
        (("a", "-o", "b"), "missing or given twice"),
        (("-o", "a", "--format", "gguf"), "safetensors, huggingface"),
    ],
)
def test_a_wrong_use_is_said(
    run: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["checkpoint", "export", *arguments, "--run", str(run)]) == 2
    assert words in capsys.readouterr().err


def test_without_transformers_the_export_says_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "revlm.huggingface", None)
    target = tmp_path / "model"
    assert main(["checkpoint", "export", "--format", "huggingface", "--run", str(run), "-o", str(target)]) == 2
    assert "pip install 'revlm[huggingface]'" in capsys.readouterr().err
    assert not target.exists()


def test_a_folder_is_exported_and_opened_as_a_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    target = tmp_path / "model"
    export = ["checkpoint", "export", "--format", "huggingface", "--run", str(run), "-o", str(target)]
    assert main(export) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert main(export) == 6
    assert "exists" in capsys.readouterr().err
    texts = []
    for place in (run, target):
        assert main(["generate", "--run", str(place), "--prompt", "It", "--max-tokens", "5"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert main(["evaluate", "--run", str(target)]) == 2
    assert "--data DIR" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_model_has_the_scores_of_its_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    target = tmp_path / "model"
    assert main(["checkpoint", "export", "--format", "huggingface", "--run", str(run), "-o", str(target)]) == 0
    capsys.readouterr()
    losses = []
    for place in (run, target):
        assert main(["evaluate", "--run", str(place), "--data", str(run.parent / "tokens"), "--json"]) == 0
        losses.append(capsys.readouterr().out.partition("total")[2])
    assert losses[0] == losses[1]
