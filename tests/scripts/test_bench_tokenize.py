"""`bench_tokenize.py` at a tiny size: all is measured, the ids are the same, and nothing is left behind."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.books import write_books

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "bench_tokenize.py"


def bench(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizing")
    write_books(folder / "novels")
    (folder / "scratch").mkdir()
    return folder


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    sizes = ("--megabytes", 0.3, "--one-line-megabytes", 0.1, "--vocab-size", 320, "--workers", "2", "--repeats", 1)
    done = bench("--novels", folder / "novels", *sizes, "--scratch", folder / "scratch", "--output", folder / "out")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def content(printed: str, folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "tokenize.json").read_text())


def test_all_is_measured(content: dict[str, Any]) -> None:
    rows = {(row["system"], row["text"]): row for row in content["rows"]}
    assert set(rows) == {("plain", "corpus"), ("revlm", "corpus"), ("revlm", "half"), ("revlm", "line")}
    for row in rows.values():
        assert row["why"] is None
        assert row["seconds"] > 0
        assert row["peak_bytes"] > 1_000_000  # a page that other processes hold too counts in part
        assert row["tokens"] > 0
    assert rows["revlm", "corpus"]["other_ids"] == []
    assert rows["revlm", "corpus"]["documents"] > rows["revlm", "half"]["documents"] > 0
    assert rows["revlm", "line"]["documents"] == 1
    assert rows["revlm", "corpus"]["bytes"] == pytest.approx(300_000, abs=3)
    assert 1.5 < content["growth"]["bytes_ratio"] < 2.5
    assert len(content["measurements"]) == 7


def test_the_table_says_it_and_nothing_is_left(printed: str, folder: Path) -> None:
    for words in ("plain SentencePiece, the corpus", "revlm, 2 workers, one line", "all", "times the bytes take"):
        assert words in printed
    assert list((folder / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--workers", "none"), 2, "--workers has 'none'"),
        (("--novels", "nowhere"), 3, "nowhere holds no .txt file"),
        (("--scratch", "nowhere"), 2, "--scratch nowhere is not a folder"),
        (("--megabytes", "0.3", "--one-line-megabytes", "0", "--tokenizer", "nowhere"), 3, "nowhere is not a file"),
        (("--corpus", "nowhere"), 3, "nowhere has fewer than two .txt files"),
        (("--megabytes", "0.3", "--one-line", "nowhere"), 3, "nowhere is not a file"),
        (("--megabytes", "0.3", "--one-line-megabytes", "0", "--vocab-size", "257"), 3, "the smallest that works is"),
    ],
)
def test_wrong_use_is_one_sentence(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = bench("--novels", folder / "novels", "--output", tmp_path / "out", *arguments)
    assert done.returncode == code
    assert words in done.stderr.splitlines()[-1]
