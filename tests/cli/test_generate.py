import json
from pathlib import Path

import pytest

from revlm.cli import main
from tests.tiny_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("folder") / "run")


def test_the_text_is_streamed_and_its_speed_told_on_standard_error(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "--prompt", "the old", "--run", str(run), "--max-tokens", "5", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("the old")
    assert out.endswith("\n")
    assert err.startswith("5 tokens in ")
    assert "tokens/s" in err


def test_json_is_one_object_with_the_text_that_is_streamed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", "--prompt", "the old", "--run", str(run), "--max-tokens", "5", "--seed", "3"]
    assert main(command) == 0
    streamed = capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.pop("seconds") > 0
    assert result == {"prompt": "the old", "text": streamed[len("the old") : -1], "tokens": 5, "seed": 3}


def test_a_long_text_is_announced_as_slow(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revlm.cli.generate.SLOW_TOKENS", 10)
    for max_tokens, is_slow in (("2", False), ("3", True)):
        assert main(["generate", "--prompt", "the old", "--run", str(run), "--max-tokens", max_tokens]) == 0
        assert ("runs the whole text again" in capsys.readouterr().err) is is_slow
