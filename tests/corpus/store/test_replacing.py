from pathlib import Path

import pytest

from revlm.cli import main
from revlm.corpus import merge_stores, tokenize_corpus
from revlm.corpus.store.token_store import StoreFolder
from revlm.errors import StorageError


def write(path: Path, text: str = "It was calm.\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def sources(store: Path) -> list[str]:
    return [document.source for document in StoreFolder(store).documents()]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path / "a" / "one.txt")
    tokenize_corpus(tmp_path / "a", tmp_path / "store", tokenizer="bytes")
    return tmp_path / "store"


@pytest.mark.parametrize("other", ["b/one.txt", "b", "a/one.txt"])
def test_a_store_of_another_corpus_is_kept(tmp_path: Path, store: Path, other: str) -> None:
    """Also where files and sizes are the same, and where a part of the same folder is meant."""
    write(tmp_path / "b" / "one.txt")
    before = (store / "manifest.json").read_bytes()
    with pytest.raises(
        StorageError,
        match=r"store holds the tokens of another corpus \(1 documents, the first 'one'; 13 tokens\), which would be "
        r"lost: add --replace",
    ):
        tokenize_corpus(tmp_path / other, store, tokenizer="bytes")
    assert (store / "manifest.json").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    tokenize_corpus(tmp_path / other, store, tokenizer="bytes", replace=True)
    assert StoreFolder(store).manifest.corpus not in before.decode()


def test_the_same_corpus_goes_on_as_it_grows_and_however_it_is_called(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a" / "two.txt")
    (tmp_path / "link").symlink_to("a")
    for corpus in (tmp_path / "a", "a", "./a/", "link", "../" + tmp_path.name + "/a"):
        tokenize_corpus(corpus, store, tokenizer="bytes", deduplicate=True)
    assert sources(store) == ["one.txt"]
    tokenize_corpus("a", store, vocab_size=280)
    assert sources(store) == ["one.txt", "two.txt"]


def test_a_shard_is_not_replaced_by_another_nor_by_the_whole(tmp_path: Path, store: Path) -> None:
    write(tmp_path / "a" / "two.txt")
    shard = tmp_path / "shard"
    for _ in range(2):
        tokenize_corpus(tmp_path / "a", shard, tokenizer="bytes", shard=(1, 2))
    for other in ((2, 2), None):
        with pytest.raises(StorageError, match="the tokens of shard 1 of 2 of another corpus"):
            tokenize_corpus(tmp_path / "a", shard, tokenizer="bytes", shard=other)
    with pytest.raises(StorageError, match="add --replace"):
        tokenize_corpus(tmp_path / "a", store, tokenizer="bytes", shard=(1, 2))


def test_merging_asks_as_well(tmp_path: Path, store: Path) -> None:
    write(tmp_path / "b" / "two.txt", "Another text.\n")
    tokenize_corpus(tmp_path / "b", tmp_path / "other", tokenizer="bytes")
    for _ in range(2):
        merge_stores([store, tmp_path / "other"], tmp_path / "merged")
    with pytest.raises(StorageError, match="another corpus"):
        merge_stores([store], tmp_path / "merged")
    with pytest.raises(StorageError, match="another corpus"):
        merge_stores([tmp_path / "other"], store)
    merge_stores([store], tmp_path / "merged", replace=True)
    assert sources(tmp_path / "merged") == ["one.txt"]


def damage(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def test_a_store_that_cannot_be_read_is_not_replaced_unasked(tmp_path: Path, store: Path) -> None:
    damage(store / "manifest.json", b'"tokens": 13', b'"tokens": 14')
    with pytest.raises(StorageError, match="holds a token store that cannot be read"):
        tokenize_corpus(tmp_path / "a", store, tokenizer="bytes")
    tokenize_corpus(tmp_path / "a", store, tokenizer="bytes", replace=True)
    assert sources(store) == ["one.txt"]


def test_the_command_line_says_what_to_add(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "b" / "two.txt")
    command = ["tokenize", "b", "-o", "store", "--tokenizer", "bytes"]
    assert main(command) == 6
    assert "add --replace to replace it, or give another folder with -o" in capsys.readouterr().err
    assert main([*command, "--replace"]) == 0
    assert main(command) == 0
    assert main(["data", "merge", "store", "-o", "merged"]) == 0
    assert main(["tokenize", "a", "-o", "merged", "--tokenizer", "bytes"]) == 6
    assert main(["data", "merge", "store", "-o", "merged", "--replace"]) == 0
