"""Files and hub datasets are read, and gone on with, in the same way."""

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from revlm.corpus import tokenize_corpus
from revlm.corpus.reading.events import START, Dropped, Ended, Piece
from revlm.corpus.reading.sources import Source, open_source
from revlm.corpus.store.token_store import TokenStore
from revlm.errors import DataError, Interrupted, UsageError

ROWS = [
    {"text": "The first\r\ntext.", "title": "One"},
    {"text": "  ", "title": None},
    {"text": None, "title": "no text"},
    {"text": "The last text.", "title": None},
]


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    """A local folder that is laid out like a dataset, of two files."""
    folder = tmp_path / "books"
    folder.mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS[:2]), folder / "train-0.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS[2:]), folder / "train-1.parquet")
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("A text.")
    (folder / "b.txt").write_text("  ")
    (folder / "c.jsonl").write_text('{"text": "one"}\nbroken\n{"text": "two"}\n')
    (folder / "d.txt").write_bytes(b"\xe9")
    (folder / "e.txt").write_text("The last text.")
    return folder


def sources(hub_folder: Path, files: Path) -> dict[str, Source]:
    return {name: open_source(name, errors="skip") for name in (f"hf:{hub_folder}", str(files))}


def test_every_place_is_one_to_go_on_from(hub_folder: Path, files: Path) -> None:
    for source in sources(hub_folder, files).values():
        events = list(source.events(START))
        ends = [number for number, event in enumerate(events) if not isinstance(event, Piece)]
        assert len(ends) > 3
        for number in ends:
            event = events[number]
            assert isinstance(event, Ended | Dropped)
            assert list(source.events(event.place)) == events[number + 1 :]


def test_a_hub_dataset_becomes_a_store(hub_folder: Path, tmp_path: Path) -> None:
    summary = tokenize_corpus(f"hf:{hub_folder}", tmp_path / "store", tokenizer="bytes", errors="skip")
    documents = list(TokenStore(tmp_path / "store").documents())
    assert documents[0].title == "One"
    assert documents[1].title == documents[1].source
    assert documents[1].source.endswith("train-1.parquet, row 2")
    assert [document.bytes for document in documents] == [len("The first\ntext."), len("The last text.")]
    assert [each.reason.split(" (")[0] for each in summary.skipped] == [
        "empty or only white space",
        "has null in 'text', not a text",
    ]
    with pytest.raises(DataError, match=r"row 1 has null in 'text', not a text; .* or pass --errors skip"):
        tokenize_corpus(f"hf:{hub_folder}", tmp_path / "strict", tokenizer="bytes")


def test_work_on_a_hub_dataset_goes_on_unless_its_files_change(hub_folder: Path, tmp_path: Path) -> None:
    def messages_after_a_stop(change: bool) -> str:
        asked = iter(range(100))
        stop = lambda: "SIGTERM" if next(asked) == 9 else None  # noqa: E731
        with pytest.raises(Interrupted):
            tokenize_corpus(f"hf:{hub_folder}", tmp_path / "store", tokenizer="bytes", errors="skip", stop=stop)
        if change:
            parquet.write_table(pyarrow.Table.from_pylist(ROWS[3:]), hub_folder / "train-1.parquet")
        said: list[str] = []
        tokenize_corpus(f"hf:{hub_folder}", tmp_path / "store", tokenizer="bytes", errors="skip", message=said.append)
        return " ".join(said)

    assert "resuming after" in messages_after_a_stop(change=False)
    assert "starting over" in messages_after_a_stop(change=True)


def test_files_are_called_as_they_were_named(files: Path) -> None:
    for corpus in (files, files / "a.txt", files / "*.txt"):
        assert open_source(corpus, errors="skip").name == str(corpus)
    with pytest.raises(DataError, match=r"no text is left in \S+/b\.txt \(b\.txt: empty"):
        tokenize_corpus(files / "b.txt", files.parent / "store", tokenizer="bytes")


def test_what_is_of_the_hub_alone_is_refused_for_files(files: Path, hub_folder: Path) -> None:
    with pytest.raises(UsageError, match="--split applies only to a dataset on the hub"):
        open_source(files, split="test")
    with pytest.raises(UsageError, match=r"has no split|no split"):
        open_source(f"hf:{hub_folder}", split="test")
