from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.corpus import tokenize_corpus
from revlm.corpus.reading.corpus_files import CorpusFiles, find_corpus_files
from revlm.corpus.reading.refusing import Skipped
from revlm.errors import DataError, UsageError


def corpus_of(sizes: list[int]) -> CorpusFiles:
    root = Path("texts")
    paths = tuple(root / f"{number:03d}.txt" for number in range(len(sizes)))
    return CorpusFiles(root, paths, tuple(sizes), (Skipped("cover.jpg", "not a text file"),))


@given(sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=40), data=st.data())
def test_shards_are_the_corpus_in_runs_of_about_equal_bytes(sizes: list[int], data: st.DataObject) -> None:
    corpus = corpus_of(sizes)
    count = data.draw(st.integers(1, len(sizes)))
    shards = [corpus.shard(number, count) for number in range(1, count + 1)]
    assert sum((shard.paths for shard in shards), ()) == corpus.paths
    assert sum((shard.sizes for shard in shards), ()) == corpus.sizes
    assert sum((shard.skipped for shard in shards), ()) == shards[0].skipped == corpus.skipped
    assert all(shard.paths for shard in shards)
    assert max(shard.total_bytes for shard in shards) <= corpus.total_bytes / count + max(sizes)


def test_a_cut_is_where_it_divides_best() -> None:
    assert [corpus_of([10, 10, 10, 10]).shard(number, 2).sizes for number in (1, 2)] == [(10, 10), (10, 10)]
    assert [corpus_of([60, 20, 20]).shard(number, 2).sizes for number in (1, 2)] == [(60,), (20, 20)]
    assert [corpus_of([5, 5, 90]).shard(number, 2).sizes for number in (1, 2)] == [(5, 5), (90,)]
    assert [corpus_of([97, 1, 1, 1]).shard(number, 3).sizes for number in (1, 2, 3)] == [(97,), (1,), (1, 1)]
    assert [corpus_of([1, 1, 97]).shard(number, 3).sizes for number in (1, 2, 3)] == [(1,), (1,), (97,)]


@pytest.mark.parametrize(("number", "count"), [(0, 2), (3, 2), (1, 0)])
def test_a_shard_that_does_not_exist_is_wrong_use(number: int, count: int) -> None:
    with pytest.raises(UsageError, match=f"there is no shard {number} of {count}"):
        corpus_of([1, 2, 3]).shard(number, count)


def test_more_shards_than_files_names_the_most_that_works() -> None:
    with pytest.raises(UsageError, match=r"texts has too few files for 4 shards.* give at most 3"):
        corpus_of([1, 2, 3]).shard(1, 4)


def test_the_fingerprint_is_that_of_names_and_sizes_wherever_they_lie(tmp_path: Path) -> None:
    fingerprints = []
    for folder, name, text in (
        ("a", "one.txt", "calm"),
        ("b", "one.txt", "sail"),
        ("c", "two.txt", "calm"),
        ("d", "one.txt", "calm sea"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
        fingerprints.append(find_corpus_files(tmp_path / folder).fingerprint)
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3


def test_tokens_below_the_texts_are_no_texts(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("calm")
    (tmp_path / "rows.jsonl").write_text('{"text": "sail"}\n')
    before = find_corpus_files(tmp_path)
    for _ in range(2):
        tokenize_corpus(tmp_path, tmp_path / "data" / "tokens", tokenizer="bytes")
        found = find_corpus_files(tmp_path)
        assert found.fingerprint == before.fingerprint
        assert found.skipped == (Skipped("data/tokens", "a token store"),)
    with pytest.raises(DataError, match=r"data/tokens is a token store, .*; give the folder of its texts"):
        find_corpus_files(tmp_path / "data" / "tokens")


def test_a_pattern_takes_a_file_once_though_links_make_a_circle(tmp_path: Path) -> None:
    folder = tmp_path / "books" / "a"
    folder.mkdir(parents=True)
    (folder / "one.txt").write_text("calm")
    (folder / "linked.txt").symlink_to("one.txt")
    (folder / "loop").symlink_to(tmp_path / "books")
    found = find_corpus_files(f"{tmp_path}/books/**/*.txt")
    assert found.paths == (folder / "linked.txt", folder / "one.txt")
    assert found.skipped[:2] == (
        Skipped("a/loop/a/linked.txt", f"the same file as {folder}/linked.txt"),
        Skipped("a/loop/a/one.txt", f"the same file as {folder}/one.txt"),
    )
    assert len({each.reason for each in found.skipped}) == 2
