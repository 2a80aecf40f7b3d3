"""The scripts about exported models, at a tiny size."""

from pathlib import Path

import pytest
import typer

pytest.importorskip("transformers")

import bench_huggingface
import check_tokenizer
from revlm.errors import DataError, UsageError
from revlm.generation import load_model
from revlm.huggingface import RevlmTokenizer, export_model
from tests.tiny_run import write_run


def test_a_token_is_timed_in_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run")
    monkeypatch.setattr(bench_huggingface, "TARGET", 1000.0)
    tiny = {"run_folder": run, "context": 40, "tokens": 4, "stretches": 2}
    bench_huggingface.main(**tiny)
    printed = capsys.readouterr().out
    assert "after 40 (median of 6)" in printed
    assert "the same tokens" in printed
    monkeypatch.setattr(bench_huggingface, "TARGET", 0.0)
    with pytest.raises(typer.Exit):
        bench_huggingface.main(**tiny)
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(UsageError, match="9 tokens"):
        bench_huggingface.main(**tiny, text=tmp_path / "short.txt")


def test_an_exported_tokenizer_is_compared_on_every_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run")
    exported = export_model(load_model(run), run, tmp_path / "exported", "unknown")
    check_tokenizer.main(tmp_path / "tokens-texts", exported)
    assert capsys.readouterr().out.startswith("4 texts, ")
    monkeypatch.setattr(RevlmTokenizer, "decode", lambda self, ids, **options: "other")
    with pytest.raises(DataError, match="another text"):
        check_tokenizer.main(tmp_path / "tokens-texts", exported)
