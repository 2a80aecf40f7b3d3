"""`revlm generate` with a model of binary files, and `--output`."""

import io
import json
import sys
from pathlib import Path

import pytest

from revlm.cli import main
from revlm.corpus import tokenize_corpus
from revlm.training import train
from tests.tiny_run import tiny_recipe, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on binary files."""
    place = tmp_path_factory.mktemp("binary")
    (place / "files").mkdir()
    for number in range(4):
        (place / "files" / f"{number}.bin").write_bytes(bytes([0xFF, 0xFE, 0, 13, 10, 0x80 + number]) * 60)
    tokenize_corpus(place / "files", place / "tokens", tokenizer="bytes", binary=True)
    list(train(tiny_recipe(place / "run", "train.max_steps=2")))
    return place / "run"


@pytest.fixture(scope="module")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("text") / "run")


def generated(run: Path, *arguments: object) -> int:
    return main(["generate", "--run", str(run), "--device", "cpu", "--max-tokens", "16", *map(str, arguments)])


def sampled(run: Path, capfd: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """The JSON object of the same continuation: the tokens of a model of bytes are its bytes."""
    assert generated(run, *arguments, "--json") == 0
    return json.loads(capfd.readouterr().out)


def test_any_file_is_continued_by_bytes(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "start.bin").write_bytes(b"\xef\xbb\xbf\xff\xfe\0\r\n\n")
    (tmp_path / "next.bin").write_bytes(b"old")
    arguments = ("--prompt-file", tmp_path / "start.bin")
    assert generated(folder, *arguments, "--output", tmp_path / "next.bin") == 0
    out, err = capfd.readouterr()
    assert (out, "next.bin: 16 bytes" in err) == ("", True)
    found = sampled(folder, capfd, *arguments)
    assert found["prompt_tokens"] == 9
    assert (tmp_path / "next.bin").read_bytes() == bytes(found["samples"][0]["tokens"])


def test_bytes_reach_a_pipe_unchanged(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert generated(folder, "--prompt", "é") == 0
    out = capfdbinary.readouterr().out
    assert generated(folder, "--prompt", "é", "--json") == 0
    assert out == "é".encode() + bytes(json.loads(capfdbinary.readouterr().out)["samples"][0]["tokens"])


def test_standard_input_is_bytes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\0"), encoding="ascii"))
    assert generated(folder, "--output", tmp_path / "next.bin") == 0
    assert len((tmp_path / "next.bin").read_bytes()) == 16


def test_a_stop_text_is_cut_from_the_bytes(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = bytes(sampled(folder, capfd, "--prompt", "a")["samples"][0]["tokens"])
    stop = next(chr(byte) for byte in whole if byte < 0x80)
    assert generated(folder, "--prompt", "a", "--output", tmp_path / "b", "--stop", stop) == 0
    assert (tmp_path / "b").read_bytes() == b"a" + whole[: whole.index(stop.encode())]


def test_text_goes_to_a_file_as_it_would_be_printed(
    text_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert generated(text_run, "--prompt", "the old") == 0
    printed = capfd.readouterr().out.encode()
    assert generated(text_run, "--prompt", "the old", "-o", tmp_path / "out.txt") == 0
    assert (tmp_path / "out.txt").read_bytes() == printed.removesuffix(b"\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "."], "--output . is not a regular file"),
        (["--output", "/dev/null"], "--output /dev/null is not a regular file"),
        (["--output", "missing/out"], "is in a folder that does not exist"),
        (["--output", "out", "--json"], "--json writes to standard output"),
        (["--output", "out", "--samples", "2"], "several samples cannot be separated"),
        (["--samples", "2"], "several samples cannot be separated"),
        (["--output", "out", "--interactive"], "--output cannot be combined with --interactive"),
    ],
)
def test_wrong_use_is_one_sentence(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert generated(folder, "--prompt", "a", *arguments) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert not list(tmp_path.iterdir())
