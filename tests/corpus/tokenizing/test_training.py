import random
import shutil
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
    assert sorted(path.name for path in (tmp_path / "tokenizer").iterdir()) == ["corpus.json", "tokenizer.model"]
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


@pytest.mark.parametrize("record", ["of another", "missing", "damaged"])
def test_a_tokenizer_of_another_corpus_is_kept(corpus: Path, tmp_path: Path, record: str) -> None:
    place, other = tmp_path / "tokenizer", tmp_path / "other"
    write_tokenizer(corpus, place, vocab_size=330)
    shutil.copytree(corpus, other)
    if record == "missing":
        (place / "corpus.json").unlink()
    elif record == "damaged":
        (place / "corpus.json").write_bytes(b"[" * 100_000)
    before = (place / "tokenizer.model").read_bytes()
    with pytest.raises(StorageError, match=r"holds the tokenizer of .*: add --replace to replace it, or give another"):
        write_tokenizer(other if record == "of another" else corpus, place, vocab_size=340)
    assert (place / "tokenizer.model").read_bytes() == before
    write_tokenizer(other, place, vocab_size=340, replace=True)
    assert Tokenizer.load(place).vocab_size == 340
    write_tokenizer(other, place, vocab_size=350)


def test_errors_leave_nothing_behind(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="smallest that works"):
        write_tokenizer(corpus, tmp_path / "tokenizer", vocab_size=20)
    for path in corpus.iterdir():
        path.write_text(" ")
    with pytest.raises(DataError, match="no text is left"):
        write_tokenizer(corpus, tmp_path / "tokenizer")
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_progress_counts_bytes_and_a_stop_ends_the_work(corpus: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    options = {"vocab_size": 330, "progress": lambda *call: calls.append(call)}
    write_tokenizer(corpus, tmp_path / "tokenizer", **options)
    total = sum(path.stat().st_size for path in corpus.iterdir())
    assert calls[-1] == (total, total, "vocabulary: 2")
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        write_tokenizer(corpus, tmp_path / "tokenizer", **options, stop=lambda: "SIGTERM")


def test_of_mixed_scripts_the_rarest_characters_become_bytes_and_it_is_said(tmp_path: Path, paragraph: str) -> None:
    """English with a tenth of Chinese: more characters than the default vocabulary has ids."""
    rng = random.Random(1)
    chinese = "".join(chr(0x4E00 + int(rng.random() ** 3 * 4000)) for _ in range(40_000))
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "english.txt").write_text(paragraph * 2000, "utf-8")
    (folder / "chinese.txt").write_text(chinese, "utf-8")
    messages: list[str] = []
    summary = tokenize_corpus(folder, tmp_path / "store", message=messages.append, workers=1)
    assert summary.vocab_size == 2048
    assert [("rarer ones are stored as bytes" in message) for message in messages] == [True]
    store = Tokenizer.load(tmp_path / "store")
    assert store.decode(store.encode(chinese)) == chinese
    assert len(store.encode("the keeper")) < len("the keeper") // 2 + 1
    with pytest.raises(UsageError, match=r"^--vocab-size 1000 is too small.*the smallest that works"):
        write_tokenizer(folder, tmp_path / "tokenizer", vocab_size=1000)
    with pytest.raises(UsageError, match=r"^the default vocabulary of 2,048 is too small"):
        write_tokenizer(folder, tmp_path / "tokenizer", character_coverage=1.0)
    assert write_tokenizer(folder, tmp_path / "tokenizer", character_coverage=0.95, vocab_size=1000).vocab_size == 1000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vocab_size": 259}, "--vocab-size 259 is too small"),
        ({"character_coverage": 0.0}, "--character-coverage 0.0 is not a share"),
        ({"character_coverage": 1.5}, "--character-coverage 1.5 is not a share"),
        ({"character_coverage": float("nan")}, "--character-coverage nan is not a share"),
        ({"character_coverage": 0.9, "tokenizer": "bytes"}, "leave out one of the two"),
    ],
)
def test_what_cannot_work_is_refused_before_the_corpus_is_looked_at(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        tokenize_corpus(tmp_path / "nowhere", tmp_path / "store", **options)  # type: ignore[arg-type]
