import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.corpus import tokenize_corpus
from revlm.corpus.store.contents import Damage, decoded, find_damage, find_document, inspect_store, length_bins
from revlm.corpus.store.token_store import TokenStore
from revlm.errors import DataError, UsageError
from tests.corpus.store.forging import sign

MakeStore = Callable[..., Path]


def test_contents_are_those_of_the_documents(make_store: MakeStore) -> None:
    contents = inspect_store(TokenStore(make_store(40, 3, 1, 33, 17, 9, 8, 40, row_tokens=10)))
    assert (contents.documents, contents.tokens, contents.bytes_per_token) == (8, 151, 1.0)
    assert [(each.low, each.high, each.documents, each.tokens) for each in contents.lengths] == [
        (1, 1, 1, 1),
        (2, 3, 1, 3),
        (4, 7, 0, 0),
        (8, 15, 2, 17),
        (16, 31, 1, 17),
        (32, 63, 3, 113),
    ]
    assert [number for number, _ in contents.longest] == [0, 7, 3, 4, 5]
    assert [number for number, _ in contents.shortest] == [2, 1, 6, 5, 4]
    assert [(number, each.duplicate) for number, each in contents.duplicates] == []


@given(st.lists(st.integers(1, 1 << 30), min_size=1))
def test_every_length_is_in_the_bin_that_spans_it(lengths: list[int]) -> None:
    bins = list(length_bins(iter(lengths)))
    for each in bins:
        inside = [length for length in lengths if each.low <= length <= each.high]
        assert (each.documents, each.tokens) == (len(inside), sum(inside))
    assert sum(each.documents for each in bins) == len(lengths)
    assert all(one.high + 1 == two.low == 2 * one.low for one, two in pairwise(bins))


def test_a_shard_without_text_has_no_lengths(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    tokenize_corpus(tmp_path / "texts", tmp_path / "shard", tokenizer="bytes", shard=(1, 1))
    contents = inspect_store(TokenStore(tmp_path / "shard"))
    assert (contents.documents, contents.bytes_per_token, contents.lengths) == (0, None, ())
    assert [each.path for each in contents.skipped] == ["a.txt"]
    assert not find_damage(tmp_path / "shard")


def test_a_document_is_found_by_number_title_or_a_part_of_one(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"text {title}", "title": title}) for title in ("Calm", "Calm sea", "1984", "7")]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    tokenize_corpus(tmp_path / "rows.jsonl", tmp_path / "store", tokenizer="bytes")
    store = TokenStore(tmp_path / "store")
    for choice, number in (("0", 0), ("3", 3), ("calm", 0), ("SEA", 1), ("1984", 2), ("7", 3)):
        assert find_document(store, choice) == number
    with pytest.raises(UsageError, match=r"2 titles contain 'A'.*0 Calm; 1 Calm sea$"):
        find_document(store, "A")
    with pytest.raises(UsageError, match=r"has 4 documents, numbered from 0, and none with 'whale' in its title"):
        find_document(store, "whale")


def test_a_document_decodes_to_its_text(tmp_path: Path, paragraph: str) -> None:
    text = paragraph * 900
    (tmp_path / "long.txt").write_text(text, "utf-8")
    tokenize_corpus(tmp_path / "long.txt", tmp_path / "store", tokenizer="bytes", row_tokens=100_001)
    pieces = list(decoded(TokenStore(tmp_path / "store"), 0))
    assert len(pieces) > 2
    assert b"".join(pieces) == text.encode()


def test_every_file_that_changed_is_damage(make_store: MakeStore) -> None:
    store = make_store(40, 10)
    calls: list[tuple[int, int, str]] = []
    assert find_damage(store, lambda *call: calls.append(call)) == Damage()
    assert calls[-1][0] == calls[-1][1]
    names = ["documents.jsonl", next(store.glob("*.arrow")).name]
    for name in names:
        content = bytearray((store / name).read_bytes())
        content[len(content) // 2] ^= 1
        (store / name).write_bytes(content)
    damage = find_damage(store)
    assert sorted(damage.files) == sorted(names)
    assert all(name in str(damage) for name in names)


def test_tokens_that_do_not_give_the_text_are_damage_of_their_document(make_store: MakeStore) -> None:
    """As a store would be that was written wrong: its files are what the manifest says."""
    store = make_store(40, 10, 20)
    (arrow,) = store.glob("*.arrow")
    tokens = TokenStore(store).texts[0].parts[0].tobytes()
    content = arrow.read_bytes()
    assert content.count(tokens) == 1
    for value in (b"!\0", b"\xff\xff"):  # another byte, and an id that the tokenizer does not have
        damaged = content.replace(tokens, value + tokens[2:])
        arrow.write_bytes(damaged)
        sign(store)
        damage = find_damage(store)
        assert damage == Damage((), ((0, "text 000"),))
        assert str(damage) == "document 0 text 000"


def test_a_cut_file_is_an_error(make_store: MakeStore) -> None:
    store = make_store(40)
    (store / "skipped.jsonl").write_text("x")
    with pytest.raises(DataError, match=r"skipped\.jsonl has 1 bytes and should have 0"):
        find_damage(store)
