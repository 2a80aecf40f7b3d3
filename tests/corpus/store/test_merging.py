import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revlm.corpus import merge_stores, tokenize_corpus, write_tokenizer
from revlm.corpus.store import writer as store_writer
from revlm.corpus.store.token_store import TokenStore
from revlm.errors import DataError, Interrupted, StorageError, UsageError

N_FILES = 7


def long_text(seed: int) -> str:
    """A text that is long enough to be compared with others."""
    numbers = random.Random(seed)
    return " ".join(str(numbers.randrange(10**6)) for _ in range(4000)) + "\n"


@pytest.fixture
def corpus(tmp_path: Path, paragraph: str) -> Path:
    """Seven files: two editions of a text, a text twice, an empty one, rows with a broken one; others passed over."""
    folder = tmp_path / "texts"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text(paragraph * 3, "utf-8")
    (folder / "b.txt").write_text(long_text(1), "utf-8")
    (folder / "c.txt").touch()
    (folder / "d.jsonl").write_text(
        "\n".join(json.dumps({"text": text}) for text in (paragraph * 4, " ", paragraph * 3, "It was calm.")), "utf-8"
    )
    (folder / "e.md").write_text(paragraph * 5, "utf-8")
    (folder / "more" / "edition.txt").write_text(long_text(1).replace(" ", "\n") + "The end.\n", "utf-8")
    (folder / "more" / "last.txt").write_text(paragraph * 3, "utf-8")
    (folder / "cover.jpg").touch()
    (folder / "more" / ".hidden.txt").touch()
    return folder


@pytest.fixture
def tokenize_shards(corpus: Path, tmp_path: Path) -> Callable[..., list[Path]]:
    """Tokenizes the corpus in so many shards and returns their folders."""

    def tokenize(count: int, **options: object) -> list[Path]:
        folders = [tmp_path / f"{number}-of-{count}" for number in range(1, count + 1)]
        for number, folder in enumerate(folders, 1):
            tokenize_corpus(corpus, folder, shard=(number, count), **{"tokenizer": "bytes", **options})
        return folders

    return tokenize


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("deduplicate", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, N_FILES])
def test_shards_in_any_order_merge_into_the_store_of_the_whole(
    corpus: Path, tmp_path: Path, tokenize_shards: Callable[..., list[Path]], count: int, deduplicate: bool
) -> None:
    whole = tokenize_corpus(corpus, tmp_path / "whole", deduplicate=deduplicate, tokenizer="bytes", row_tokens=500)
    shards = tokenize_shards(count, row_tokens=500)
    merged = merge_stores(shards[::-1], tmp_path / "merged", deduplicate=deduplicate)
    assert content(tmp_path / "merged") == content(tmp_path / "whole")
    assert merged.documents == whole.documents == (5 if deduplicate else 8)
    assert merged.duplicates == whole.duplicates
    left_out = ["d.jsonl, line 3", "more/edition.txt", "more/last.txt"] if deduplicate else []
    passed_over = ["cover.jpg", "more/.hidden.txt", "c.txt", "d.jsonl, line 2"]
    assert [each.path for each in merged.skipped] == passed_over + left_out
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["merged", "texts", "whole", *(shard.name for shard in shards)]
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(lengths=st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=2, max_size=6), data=st.data())
def test_any_corpus_in_any_shards_merges_into_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[list[int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("random")
    (folder / "texts").mkdir()
    for number, rows in enumerate([[1], *lengths]):
        texts = [chr(97 + length % 26) * length for length in rows]
        (folder / "texts" / f"{number}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    tokenize_corpus(folder / "texts", folder / "whole", tokenizer="bytes", row_tokens=7)
    count = data.draw(st.integers(1, len(lengths) + 1))
    for number in range(1, count + 1):
        options = {"tokenizer": "bytes", "row_tokens": 7, "shard": (number, count)}
        tokenize_corpus(folder / "texts", folder / f"shard-{number}", **options)
    merge_stores(list(folder.glob("shard-*")), folder / "merged")
    assert content(folder / "merged") == content(folder / "whole")


def test_a_tokenizer_that_shards_share_gives_the_bytes_of_the_whole(
    corpus: Path, tmp_path: Path, tokenize_shards: Callable[..., list[Path]]
) -> None:
    tokenize_corpus(corpus, tmp_path / "whole", vocab_size=330)
    write_tokenizer(corpus, tmp_path / "tokenizer", vocab_size=330)
    merge_stores(tokenize_shards(2, tokenizer=tmp_path / "tokenizer"), tmp_path / "merged")
    assert content(tmp_path / "merged") == content(tmp_path / "whole")


def test_rows_are_divided_into_files_as_those_of_the_whole(
    corpus: Path, tmp_path: Path, tokenize_shards: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_writer, "FILE_BYTES", 20_000)
    tokenize_corpus(corpus, tmp_path / "whole", tokenizer="bytes")
    merge_stores(tokenize_shards(3), tmp_path / "merged")
    assert len(list((tmp_path / "whole").glob("*.arrow"))) > 2
    assert content(tmp_path / "merged") == content(tmp_path / "whole")


def test_a_shard_without_text_is_a_store_that_merges(
    corpus: Path, tmp_path: Path, tokenize_shards: Callable[..., list[Path]]
) -> None:
    shards = tokenize_shards(N_FILES)
    empty = TokenStore(shards[2])
    assert len(empty) == empty.manifest.tokens == 0
    assert [each.path for each in empty.skipped()] == ["c.txt"]
    assert str(empty.shard) == "shard 3 of 7"
    assert len(datasets.load_from_disk(str(shards[2]))) == 0


def test_shards_without_any_text_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "texts" / name).touch()
    said: list[str] = []
    for number in (1, 2):
        options = {"tokenizer": "bytes", "shard": (number, 2), "message": said.append}
        tokenize_corpus(tmp_path / "texts", tmp_path / str(number), **options)
    assert [sentence.split(";")[0] for sentence in said] == [
        "shard 1 of 2 has no text",
        "shard 2 of 2 has no text",
    ]
    with pytest.raises(DataError, match="no text is left in"):
        merge_stores([tmp_path / "1", tmp_path / "2"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_stores_that_are_no_shards_are_joined_in_the_order_given(corpus: Path, tmp_path: Path) -> None:
    for name in ("b", "a"):
        tokenize_corpus(corpus / f"{name}.txt", tmp_path / name, tokenizer="bytes")
    tokenize_corpus(corpus / "more", tmp_path / "more", tokenizer="bytes")
    merged = merge_stores([tmp_path / "b", tmp_path / "a", tmp_path / "more"], tmp_path / "merged")
    documents = list(TokenStore(tmp_path / "merged").documents())
    assert [each.source for each in documents] == ["b.txt", "a.txt", "edition.txt", "last.txt"]
    assert dict(merged.duplicates)["last.txt"] == "the same text as a.txt"
    assert dict(merged.duplicates)["edition.txt"].startswith("nearly the text of b.txt")
    assert [each.path for each in merged.skipped] == [".hidden.txt"]
    assert merge_stores([tmp_path / "merged"], tmp_path / "again", deduplicate=True).documents == 2


def test_progress_counts_bytes_up_to_all_of_them(tokenize_shards: Callable[..., list[Path]], tmp_path: Path) -> None:
    shards = tokenize_shards(2)
    totals = []
    for verify in (False, True):
        calls: list[tuple[int, int]] = []
        merge_stores(shards, tmp_path / "merged", verify=verify, progress=lambda *call, to=calls: to.append(call[:2]))
        assert calls == sorted(calls)
        assert calls[0][0] == 0
        assert calls[-1][0] == calls[-1][1]
        totals.append(calls[-1][1])
    files = sum(path.stat().st_size for each in shards for path in each.iterdir() if path.name != "manifest.json")
    texts = sum(TokenStore(each).manifest.bytes for each in shards)
    assert totals == [files + texts, files + 2 * texts]


def test_a_stop_leaves_the_old_store_and_the_same_call_begins_again(
    tokenize_shards: Callable[..., list[Path]], tmp_path: Path
) -> None:
    shards = tokenize_shards(2)
    merge_stores(shards, tmp_path / "merged", deduplicate=True)
    before = content(tmp_path / "merged")
    asked = iter([None, None, None, "SIGTERM"])
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        merge_stores(shards, tmp_path / "merged", stop=lambda: next(asked))
    assert content(tmp_path / "merged") == before
    assert merge_stores(shards, tmp_path / "merged").documents == 8
    assert not list(tmp_path.glob(".*"))


def test_what_is_missing_or_doubled_is_named(tokenize_shards: Callable[..., list[Path]], tmp_path: Path) -> None:
    one, two, three = tokenize_shards(3)
    with pytest.raises(UsageError, match=r"of 3 shards 2 are missing: 1/3, 3/3; make them with .*--shard 1/3"):
        merge_stores([two], tmp_path / "merged")
    (tmp_path / "copy").symlink_to(two)
    with pytest.raises(UsageError, match="copy is named twice"):
        merge_stores([one, two, tmp_path / "copy"], tmp_path / "merged")
    tokenize_corpus(tmp_path / "texts", tmp_path / "other", tokenizer="bytes", shard=(2, 3))
    with pytest.raises(UsageError, match=r"2-of-3 and .*other both are shard 2 of 3"):
        merge_stores([one, two, three, tmp_path / "other"], tmp_path / "merged")
    with pytest.raises(UsageError, match="no store was given"):
        merge_stores([], tmp_path / "merged")


def test_what_does_not_belong_together_is_refused(
    corpus: Path, tokenize_shards: Callable[..., list[Path]], tmp_path: Path
) -> None:
    one, two = tokenize_shards(2)
    three = tokenize_shards(3)[2]
    with pytest.raises(UsageError, match=r"1-of-2 is shard 1 of 2 and .*3-of-3 is shard 3 of 3"):
        merge_stores([one, three], tmp_path / "merged")
    tokenize_corpus(corpus, tmp_path / "whole", tokenizer="bytes")
    with pytest.raises(UsageError, match=r"1-of-2 is a shard and .*whole is not"):
        merge_stores([one, tmp_path / "whole"], tmp_path / "merged")
    with pytest.raises(UsageError, match="would be replaced by what it is merged into"):
        merge_stores([one, two], one)
    write_tokenizer(corpus, tmp_path / "tokenizer", vocab_size=330)
    tokenize_corpus(corpus, two, tokenizer=tmp_path / "tokenizer", shard=(2, 2))
    with pytest.raises(DataError, match="have different tokenizers"):
        merge_stores([one, two], tmp_path / "merged")
    (corpus / "e.md").write_text("It was calm.\n")
    tokenize_corpus(corpus, two, tokenizer="bytes", shard=(2, 2))
    with pytest.raises(UsageError, match="are not of the same corpus, or its files changed in between"):
        merge_stores([one, two], tmp_path / "merged")
    with pytest.raises(DataError, match="missing does not exist"):
        merge_stores([one, tmp_path / "missing"], tmp_path / "merged")
    with pytest.raises(StorageError, match="did not make it"):
        merge_stores(tokenize_shards(2), corpus)
    assert not (tmp_path / "merged").exists()


def test_a_damaged_shard_is_named(tokenize_shards: Callable[..., list[Path]], tmp_path: Path) -> None:
    one, two = tokenize_shards(2)
    (arrow,) = two.glob("*.arrow")
    whole = arrow.read_bytes()
    arrow.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=rf"{arrow.name} has \d+ bytes and should have"):
        merge_stores([one, two], tmp_path / "merged")
    arrow.write_bytes(whole[:-300] + bytes([whole[-300] ^ 1]) + whole[-299:])
    with pytest.raises(DataError, match=rf"^{arrow.name} in .*2-of-2 changed since the store was written"):
        merge_stores([one, two], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_full_disk_is_answered_with_an_option_of_the_commands(
    corpus: Path, tmp_path: Path, tokenize_shards: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = tokenize_shards(2)
    usage = shutil.disk_usage(tmp_path)._replace(free=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    for write in (
        lambda: merge_stores(shards, tmp_path / "merged"),
        lambda: tokenize_corpus(corpus, tmp_path / "whole", tokenizer="bytes"),
    ):
        with pytest.raises(StorageError, match=r"disk full: .*: free space there, or give another folder with -o$"):
            write()
