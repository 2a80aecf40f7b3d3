import gzip
import os
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from revlm.corpus import read_documents
from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.reading.corpus_files import find_corpus_files
from revlm.corpus.reading.documents import stream_documents
from revlm.corpus.reading.events import Piece
from revlm.corpus.reading.refusing import Skipped
from revlm.errors import DataError


def read(corpus: Path, **options: object) -> tuple[dict[str, str], list[Skipped]]:
    skipped: list[Skipped] = []
    documents = read_documents(corpus, on_skip=skipped.append, **options)  # type: ignore[arg-type]
    return {document.source: document.text for document in documents}, skipped


def test_a_folder_is_read_recursively_in_order_of_path(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.md", "a/b/c.TXT", "Z.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    texts, skipped = read(tmp_path)
    assert list(texts) == ["Z.txt", "a/b/c.TXT", "a/z.md", "b.txt"]
    assert texts["a/z.md"] == "text of a/z.md"
    assert skipped == []


def test_line_ends_and_byte_order_mark_are_normalised_and_counted(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbfone\r\ntwo\rthree\n\r\n \xef\xbb\xbf kept"
    (tmp_path / "a_small_text.txt").write_bytes(raw)
    (document,) = read_documents(tmp_path)
    assert document.text == "one\ntwo\nthree\n\n \ufeff kept"
    assert document.title == "a small text"
    cleaning = Cleaning(file_bytes=len(raw), byte_order_marks=1, crlf_line_ends=2, lone_carriage_returns=1)
    assert document.cleaning == cleaning
    assert len(raw) - cleaning.removed_bytes == len(document.text.encode())


def test_gutenberg_matter_is_counted_in_bytes_and_gives_the_title(tmp_path: Path) -> None:
    raw = (
        "The Project Gutenberg EBook of Él\r\n\r\nTitle: Él\r\n\r\n"
        "*** START OF THE PROJECT GUTENBERG EBOOK ÉL ***\r\n\r\nThe text — all of it.\r\n\r\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK ÉL ***\r\n"
    ).encode()
    (tmp_path / "1-0.txt").write_bytes(raw)
    (document,) = read_documents(tmp_path / "1-0.txt")
    assert (document.title, document.source, document.text) == ("Él", "1-0.txt", "The text — all of it.\n")
    assert document.cleaning.gutenberg_front_bytes > 0
    assert document.cleaning.gutenberg_back_bytes > 0
    assert len(raw) - document.cleaning.removed_bytes == len(document.text.encode())


def test_a_file_that_is_not_utf8_stops_with_path_and_byte_offset(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "latin.txt").write_bytes("é = ".encode() + b"\xe9 in latin-1")
    with pytest.raises(DataError, match=r"latin\.txt is not UTF-8: byte 0xe9 at byte offset 5 .*--errors skip"):
        list(read_documents(tmp_path))
    texts, (skipped,) = read(tmp_path, errors="skip")
    assert list(texts) == ["good.txt"]
    assert skipped.path == "latin.txt"
    assert "byte offset 5" in skipped.reason


def test_what_gives_no_document_is_listed_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "blank.md").write_text(" \n\t\n")
    (tmp_path / "table.csv").write_text("a,b")
    (tmp_path / ".hidden.txt").write_text("hidden")
    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "again").symlink_to(tmp_path)
    texts, skipped = read(tmp_path)
    assert list(texts) == ["good.txt"]
    assert {each.path: each.reason.split(" (")[0] for each in skipped} == {
        "empty.txt": "empty or only white space",
        "blank.md": "empty or only white space",
        "table.csv": "not a text file",
        ".hidden.txt": "hidden",
        ".git": "hidden",
        "pipe.txt": "not a regular file",
        "again": f"the same folder as {tmp_path}",
    }


def test_a_file_of_no_texts_is_listed_and_passed_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n \n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b""))
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "c.parquet")
    (tmp_path / "d.txt").write_text("good")
    texts, skipped = read(tmp_path)
    assert list(texts) == ["d.txt"]
    assert skipped == [Skipped(name, "empty or only white space") for name in ("a.jsonl", "b.jsonl.gz", "c.parquet")]
    files = find_corpus_files(tmp_path)
    events = [event for event in stream_documents(files) if not isinstance(event, Piece)]
    assert sum(event.read_bytes for event in events) == files.total_bytes
    for number, event in enumerate(events):
        left = [each for each in stream_documents(files, after=event.position) if not isinstance(each, Piece)]
        assert left == events[number + 1 :]


def test_links_that_lead_out_of_the_corpus_are_named_unless_they_are_to_be_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("linked")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "a.txt").symlink_to("../elsewhere/a.txt")
    (tmp_path / "corpus" / "own.txt").write_text("own")
    (tmp_path / "corpus" / "inside.txt").symlink_to("own.txt")
    own = {"inside.txt": "own", "own.txt": "own"}
    texts, skipped = read(tmp_path / "corpus")
    assert texts == own
    assert {each.path for each in skipped} == {"a.txt", "link"}
    assert all(f"leads out of the corpus, to {tmp_path}/elsewhere" in each.reason for each in skipped)
    assert read(tmp_path / "corpus", follow_links=True) == ({"a.txt": "linked", "link/a.txt": "linked", **own}, [])
    skipped.clear()
    texts = {each.source for each in read_documents(f"{tmp_path}/corpus/*/*.txt", follow_links=True)}
    assert texts == {"link/a.txt"}
    with pytest.raises(DataError, match="matches no file that can be read"):
        find_corpus_files(f"{tmp_path}/corpus/*/*.txt")


@pytest.mark.parametrize("target", ["nowhere.txt", "broken.txt"])
def test_a_broken_link_stops_or_is_listed(tmp_path: Path, target: str) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "broken.txt").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"broken\.txt cannot be read"):
        list(read_documents(tmp_path))
    texts, (skipped,) = read(tmp_path, errors="skip")
    assert list(texts) == ["good.txt"]
    assert skipped.path == "broken.txt"


def test_an_unreadable_file_stops_or_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "shut.txt").write_text("shut")
    open_file = os.open

    def refuse(path: Path, *arguments: int) -> int:
        if Path(path).name == "shut.txt":
            raise PermissionError(13, "Permission denied")
        return open_file(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=r"shut\.txt cannot be read: permission denied"):
        list(read_documents(tmp_path))
    texts, (skipped,) = read(tmp_path, errors="skip")
    assert list(texts) == ["good.txt"]
    assert skipped == Skipped("shut.txt", "cannot be read: permission denied")


def test_a_corpus_that_is_missing_or_holds_no_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        find_corpus_files(tmp_path / "missing")
    (tmp_path / "notes.pdf").write_text("x")
    with pytest.raises(DataError, match=r"holds no file that can be read \(\.txt, .* or \.xhtml"):
        find_corpus_files(tmp_path)
    with pytest.raises(DataError, match=r"no reader for \.pdf"):
        find_corpus_files(tmp_path / "notes.pdf")


def test_a_pipe_as_corpus_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a folder nor a regular file"):
        find_corpus_files(tmp_path / "pipe")


def test_a_file_without_an_ending_can_be_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "enwiki").write_text("text")
    assert read(tmp_path / "enwiki") == ({"enwiki": "text"}, [])


def test_a_file_name_that_is_not_utf8_is_written_with_escapes(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("text")
    (document,) = read_documents(tmp_path)
    assert document.source == "caf\\udce9.txt"
    document.title.encode()
