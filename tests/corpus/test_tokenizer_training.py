from pathlib import Path

import pytest

from revlm.corpus import Tokenizer, tokenize_corpus, write_tokenizer
from revlm.errors import DataError, Interrupted, StorageError, UsageError


@pytest.fixture
def corpus(tmp_path: Path, paragraph: str) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number}.txt").write_text(paragraph * 5 * number, "utf-8")
    return folder


def test_the_tokenizer_is_the_one_of_the_store(corpus: Path, tmp_path: Path) -> None:
    trained = write_tokenizer(corpus, tmp_path / "tokenizer", vocab_size=330)
    tokenize_corpus(corpus, tmp_path / "store", vocab_size=330)
    assert [path.name for path in (tmp_path / "tokenizer").iterdir()] == ["tokenizer.model"]
    assert Tokenizer.load(tmp_path / "tokenizer").fingerprint == Tokenizer.load(tmp_path / "store").fingerprint
    assert trained.fingerprint == Tokenizer.load(tmp_path / "store").fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "texts", "tokenizer"]


def test_a_tokenizer_is_replaced_and_nothing_else(corpus: Path, tmp_path: Path) -> None:
    for vocab_size in (330, 340):
        write_tokenizer(corpus, tmp_path / "tokenizer", vocab_size=vocab_size)
        assert Tokenizer.load(tmp_path / "tokenizer").vocab_size == vocab_size
    with pytest.raises(StorageError, match="did not make it"):
        write_tokenizer(corpus, corpus, vocab_size=330)
    tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    with pytest.raises(StorageError, match="store is a token store; give another folder"):
        write_tokenizer(corpus, tmp_path / "store", vocab_size=330)


def test_errors_leave_nothing_behind(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="smallest that works"):
        write_tokenizer(corpus, tmp_path / "tokenizer", vocab_size=20)
    for path in corpus.iterdir():
        path.write_text(" ")
    with pytest.raises(DataError, match="no text is left"):
        write_tokenizer(corpus, tmp_path / "tokenizer")
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_progress_counts_bytes_and_a_stop_is_heeded(corpus: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    options = {"vocab_size": 330, "progress": lambda *call: calls.append(call)}
    write_tokenizer(corpus, tmp_path / "tokenizer", **options)
    total = sum(path.stat().st_size for path in corpus.iterdir())
    assert calls[-1] == (total, total, "vocabulary: 2")
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        write_tokenizer(corpus, tmp_path / "tokenizer", **options, stop=lambda: "SIGTERM")
