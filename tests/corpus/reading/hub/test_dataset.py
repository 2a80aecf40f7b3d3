"""The texts of datasets, streamed over HTTP from a hub on loopback."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow
import pytest
from pyarrow import parquet

from revlm.corpus.reading.hub.dataset import HubDataset
from revlm.corpus.reading.hub.rows import ParquetRows
from revlm.corpus.reading.readers.raw import PLAIN_READING
from revlm.errors import DataError
from revlm.recipe import Stream
from tests.corpus.reading.hub.hub_library import (
    BOOKS,
    LIBRARY,
    LONG,
    MANY,
    Text,
    facts,
    named,
    streamed,
    texts,
    tokenized,
)
from tests.corpus.reading.hub.loopback_hub import Hub, Repository, commit_of


def test_a_row_is_a_text(elsewhere: Any) -> None:
    read = elsewhere(texts, named("books"))
    assert [each.text for each in read] == BOOKS
    assert [each.place for each in read] == [f"row {number}" for number in range(1, 24)]
    assert [each.read_bytes for each in read] == [len(text.encode()) for text in BOOKS]


def test_a_row_is_named_by_its_file_where_there_are_several(elsewhere: Any) -> None:
    read = elsewhere(texts, named("many"))
    assert [each.text for each in read] == BOOKS
    assert read[6].place == "data/train-00001-of-00004.parquet, row 1"


@pytest.mark.parametrize(
    ("options", "expected"), [({"split": "test"}, ["only a test"]), ({"revision": "v1"}, BOOKS[:2])]
)
def test_split_and_revision(elsewhere: Any, options: dict[str, str], expected: list[str]) -> None:
    assert [each.text for each in elsewhere(texts, named("many", **options))] == expected


def test_a_configuration(elsewhere: Any) -> None:
    assert [each.text for each in elsewhere(texts, named("configs", config="fr"))] == ["un"]


def test_other_formats(elsewhere: Any) -> None:
    read = elsewhere(texts, named("lines"))
    assert [each.text for each in read] == BOOKS[0::2] + BOOKS[1::2]
    assert read[12].place == "train/1.jsonl, row 1"


def test_a_list_and_a_table(elsewhere: Any) -> None:
    assert [each.text for each in elsewhere(texts, named("list"))[2:]] == BOOKS[2:3]
    first, second, third = elsewhere(texts, named("table"))
    assert (first.text, first.title, second.text, second.place) == ('One, "two",\nthree', "A", "é", "row 2")
    assert third[:2] == ("row 3", "has 2 values for 3 columns")


def test_a_file_of_text_is_one_text(elsewhere: Any) -> None:
    read = elsewhere(texts, named("files"))
    assert [each.text for each in read] == [f"A first line.\r\nAnd more of {number}.\n" for number in (1, 2)]


@pytest.mark.parametrize("name", ["books", "many", "lines"])
def test_skipping_gives_the_same_rest(elsewhere: Any, name: str) -> None:
    whole = elsewhere(texts, named(name))
    for skip in (1, 3, 6, 7, 13, 22, 23, 50):
        assert elsewhere(texts, named(name), skip) == whole[skip:]


def test_what_is_skipped_is_not_fetched(elsewhere: Any, hub: Hub) -> None:
    """Of ten groups of rows, the last one and the file's end; each request reads a little ahead."""
    hub.fetched.clear()
    rest = elsewhere(texts, named("long"), 95)
    assert [each.text for each in rest] == [LONG] * 5
    assert hub.fetched["me/long/train.parquet"] < len(LIBRARY["me/long"].revisions["main"]["train.parquet"])


def test_what_the_hub_counted(elsewhere: Any) -> None:
    commit = commit_of(LIBRARY["me/many"].revisions["main"])
    assert elsewhere(facts, named("many")) == (1000, commit)
    assert elsewhere(facts, named("books"))[0] is None


def test_a_commit_gives_the_same_rows_after_the_branch_moved(elsewhere: Any) -> None:
    dataset = elsewhere(HubDataset.pinned, named("many", revision="v1"))
    assert str(dataset) == "hf:me/many"
    LIBRARY["me/many"].revisions["old"] = LIBRARY["me/many"].revisions["v1"]
    with patch.dict(LIBRARY["me/many"].revisions, {"v1": MANY}):
        assert [each.text for each in elsewhere(texts, dataset)] == BOOKS[:2]


def test_a_row_without_a_text_is_named(elsewhere: Any) -> None:
    read = elsewhere(texts, named("bad"))
    assert [each.text for each in read if isinstance(each, Text)] == ["good", "last"]
    assert read[0].title == "A title"
    assert read[1][:2] == ("row 2", "is not UTF-8 in 'text': byte 0xe9 at its byte 3; its encoding is unknown")
    assert read[2][:2] == ("row 3", "has null in 'text', not a text")


def test_a_local_folder(elsewhere: Any, tmp_path: Path) -> None:
    for name, content in MANY.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    dataset = HubDataset.parse(f"hf:{tmp_path}/folder")
    assert elsewhere(texts, dataset) == elsewhere(texts, named("many"))
    assert elsewhere(HubDataset.pinned, dataset) == dataset
    with pytest.raises(DataError, match="is not a folder; check the path"):
        elsewhere(texts, replace(dataset, id=f"{tmp_path}/nothing"))


def test_a_group_of_rows_is_not_held_whole(tmp_path: Path) -> None:
    path, text = tmp_path / "train.parquet", LONG * 16
    table = pyarrow.table({"text": [text] * 96})
    parquet.write_table(table, path, use_dictionary=False, compression="none", write_batch_size=1)
    tracemalloc.start()
    try:
        rows = sum(
            len(row["text"]) == len(text)
            for row in _python(ParquetRows("", str(path), HubDataset.parse(f"hf:{tmp_path}"), None, PLAIN_READING))
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 96
    assert peak < len(text) * 96 * 2 / 3


def _python(rows: ParquetRows) -> Iterator[dict[str, Any]]:
    for row in rows.read(0):
        yield {name: value.as_py() for name, value in row.items()}


def test_a_dataset_becomes_a_store_also_when_the_work_is_stopped(elsewhere: Any, tmp_path: Path) -> None:
    documents, said = elsewhere(tokenized, "hf:me/many", str(tmp_path / "store"), 9)
    names = [f"hf:me/many, data/train-{n // 6:05d}-of-00004.parquet, row {n % 6 + 1}" for n in range(23)]
    assert documents == [(name, len(text.encode())) for name, text in zip(names, BOOKS, strict=True)]
    assert ["resuming after" in sentence for sentence in said] == [True]


def test_a_stream_goes_on_at_the_commit_it_began_with(elsewhere: Any, hub: Hub) -> None:
    """After the dataset has changed, too."""
    packed = "".join(BOOKS)
    hub.repositories["me/moves"] = Repository({"main": MANY})
    at_commit, first, place = elsewhere(streamed, Stream(corpus="hf:me/moves"), None, 5)
    assert at_commit == Stream(corpus="hf:me/moves", revision=commit_of(MANY))
    hub.repositories["me/moves"].revisions["old"] = MANY
    hub.repositories["me/moves"].revisions["main"] = {"train.parquet": b"another"}
    _, rest, _ = elsewhere(streamed, at_commit, place, 60)
    assert packed.startswith("".join(first))
    assert ("".join(first) + "".join(rest)).startswith(packed)
