"""`bench_tokenize.py` at a tiny size: all is measured, the ids are the same, and nothing is left behind."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import bench_tokenize
from revlm.errors import DataError, RevlmError, UsageError
from tests.scripts.books import write_books


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizing")
    write_books(folder / "novels")
    (folder / "scratch").mkdir()
    return folder


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    sizes = {"megabytes": 0.3, "one_line_megabytes": 0.1, "vocab_size": 320, "workers": "1", "repeats": 1}
    with redirect_stdout(StringIO()) as printed:
        bench_tokenize.main(folder / "novels", **sizes, scratch=folder / "scratch", output=folder / "out")
    return printed.getvalue()


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
    for words in ("plain SentencePiece, the corpus", "revlm, 1 worker, one line", "all", "times the bytes take"):
        assert words in printed
    assert list((folder / "scratch").iterdir()) == []


SMALL = {"megabytes": 0.3, "one_line_megabytes": 0.0}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"workers": "none"}, UsageError, "--workers has 'none'"),
        ({"novels": Path("nowhere")}, DataError, "nowhere holds no .txt file"),
        ({"scratch": Path("nowhere")}, UsageError, "--scratch nowhere is not a folder"),
        ({**SMALL, "tokenizer": Path("nowhere")}, DataError, "nowhere is not a file"),
        ({"corpus": Path("nowhere")}, DataError, "nowhere has fewer than two .txt files"),
        ({"megabytes": 0.3, "one_line": Path("nowhere")}, DataError, "nowhere is not a file"),
        ({**SMALL, "vocab_size": 257}, DataError, "the smallest that works is"),
    ],
)
def test_wrong_use_is_told(
    folder: Path, tmp_path: Path, arguments: dict[str, Any], error: type[RevlmError], words: str
) -> None:
    with pytest.raises(error, match=words):
        bench_tokenize.main(**{"novels": folder / "novels", "vocab_size": 320, "output": tmp_path / "out"} | arguments)
