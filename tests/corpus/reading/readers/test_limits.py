"""What a file may take, format by format: a file that takes more is named, and the others are read."""

import bz2
import gzip
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from revlm.corpus.reading import readers
from revlm.corpus.reading.corpus_files import find_corpus_files
from revlm.corpus.reading.documents import stream_documents
from revlm.corpus.reading.events import Dropped
from revlm.corpus.reading.readers import Reading
from revlm.corpus.reading.readers.jsonl import read_jsonl
from revlm.corpus.reading.readers.raw import RawText
from revlm.errors import Interrupted
from revlm.limits import Limits
from tests.corpus.reading.readers.reading import read, refused_or_skipped
from tests.corpus.reading.readers.test_epub import PACKAGE, SPINE, by_hand


def compress(raw: bytes, ending: str) -> bytes:
    return gzip.compress(raw) if ending == ".gz" else pyarrow.compress(raw, codec="zstd", asbytes=True)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_file_expands_within_its_limits(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"books.jsonl{ending}"
    path.write_bytes(compress(b"x" * (20 << 20), ending))
    refused_or_skipped(path, "expands to more than 200 times its size; pass a higher --max-ratio", [])
    limits = Limits(max_ratio=1 << 20, max_expanded_bytes=3 << 20)
    refused_or_skipped(path, "expands to more than 3,145,728 bytes; .*--max-expanded-bytes", [], limits=limits)
    limits = Limits(max_ratio=1 << 20, max_line_bytes=3 << 20)
    refused_or_skipped(path, "line 1 is longer than 3,145,728 bytes; pass a higher --max-line", [], limits=limits)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_a_line_that_is_too_long_is_named_and_the_next_ones_are_read(tmp_path: Path, ending: str) -> None:
    lines = ["one", "x" * 3_000_000, "three", " " * 3_000_000, "five"]
    raw = "".join(json.dumps({"text": line}) + "\n" for line in lines).encode()
    path = tmp_path / f"books.jsonl{ending}"
    path.write_bytes(compress(raw, ending) if ending else raw)
    limits = Limits(max_line_bytes=1 << 20)
    refused_or_skipped(path, "line 2 is longer", ["one", "three", "five"], skipped=2, limits=limits)


def test_long_numbers_and_names_are_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "books.jsonl"
    digits = "9" * 50_000
    title = json.dumps({"text": "b", "title": "T" * 100_000})
    path.write_text(f'{{"text": "a", "n": {digits}, "m": -{digits}.5e{digits}}}\n{title}\n{{"{digits}": 1}}\n')
    documents, (skipped,) = read(path, errors="skip")
    assert [document.text for document in documents] == ["a", "b"]
    assert len(documents[1].title) <= 300
    assert len(skipped.reason) < 300


def test_blank_lines_are_passed_quickly_and_a_stop_interrupts_them(tmp_path: Path) -> None:
    path = tmp_path / "blank.jsonl"
    with path.open("wb") as file:
        file.truncate(0)
        for _ in range(64):
            file.write(b"\n" * (1 << 20))
        file.write(b'{"text": "found"}\n')
    asked: list[None] = []
    [found] = read_jsonl(path, Reading(raise_if_stopped=lambda: asked.append(None)))
    assert isinstance(found, RawText)
    assert found.place == f"line {(64 << 20) + 1}"
    assert len(asked) > 60

    def stop() -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        next(read_jsonl(path, Reading(raise_if_stopped=stop)))


def test_a_chapter_that_is_named_often_is_read_once(tmp_path: Path) -> None:
    spine = SPINE + '<itemref idref="two"/>' * 1_200
    (document,), _ = read(by_hand(tmp_path / "book.epub", **{"OEBPS/book.opf": PACKAGE.format(spine)}))
    assert document.text.count("Chapter Two") == 1


ZEROS = "<p>" + " " * (20 << 20)


@pytest.mark.parametrize(
    ("more", "limits", "reason"),
    [
        ({"OEBPS/text/two.xhtml": ZEROS}, Limits(), "expands to more than 200 times its size"),
        (
            {"OEBPS/text/two.xhtml": ZEROS},
            Limits(max_line_bytes=1 << 20),
            "'OEBPS/text/two.xhtml' inside is longer than",
        ),
        ({}, Limits(max_members=3), "has more than 3 files inside; pass a higher --max-members"),
        (
            {"OEBPS/text/two.xhtml": "<i>" * 30},
            Limits(max_nesting=20),
            "two.xhtml' inside cannot be parsed: .* 20 deep",
        ),
        ({}, Limits(max_expanded_bytes=500), "expands to more than 500 bytes"),
    ],
)
def test_an_ebook_beyond_a_limit(tmp_path: Path, more: dict[str, str], limits: Limits, reason: str) -> None:
    path = by_hand(tmp_path / "whole.epub", **more)
    with zipfile.ZipFile(path) as book, zipfile.ZipFile(tmp_path / "book.epub", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in book.namelist():
            archive.writestr(name, book.read(name))
    path.unlink()
    refused_or_skipped(tmp_path / "book.epub", reason, [], limits=limits)


def test_a_link_inside_an_ebook_is_not_followed(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "book.epub")
    with zipfile.ZipFile(path) as book:
        contents = {name: book.read(name) for name in book.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            information = zipfile.ZipInfo(name)
            if name.endswith("two.xhtml"):
                information.external_attr, content = (stat.S_IFLNK | 0o777) << 16, b"/etc/hostname"
            archive.writestr(information, content)
    refused_or_skipped(path, "two.xhtml' inside is a link, which is not followed", [])


def test_parquet_of_no_rows_nested_columns_and_bytes(tmp_path: Path) -> None:
    rows = [{"meta": {"text": "one", "deep": {"text": "two"}}, "raw": "drei ü".encode()}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "books.parquet")
    for column, text in (("meta.text", "one"), ("meta.deep.text", "two"), ("raw", "drei ü")):
        (document,), _ = read(tmp_path / "books.parquet", text_column=column)
        assert document.text == text
    refused_or_skipped(tmp_path / "books.parquet", r"no column 'text' \(it has 'meta.text', 'meta.deep', 'raw'\)", [])
    parquet.write_table(pyarrow.table({"text": [b"caf\xe9 au lait", b"fine"]}), tmp_path / "bytes.parquet")
    refused_or_skipped(tmp_path / "bytes.parquet", "row 1 is not UTF-8 in 'text': byte 0xe9 at its byte 3", ["fine"])
    limits = Limits(max_line_bytes=4)
    refused_or_skipped(tmp_path / "bytes.parquet", "row 1 has more than 4 bytes in 'text'", ["fine"], limits=limits)
    parquet.write_table(pyarrow.Table.from_pylist(rows[:0], schema=pyarrow.schema({"text": "string"})), tmp_path / "0")
    (tmp_path / "0").rename(tmp_path / "empty.parquet")
    assert read(tmp_path / "empty.parquet")[0] == []


def test_a_nested_column_of_json(tmp_path: Path) -> None:
    path = tmp_path / "books.ndjson"
    path.write_text('{"meta": {"text": "one"}}\n{"meta.text": "two", "meta": {"text": "no"}}\n{"meta": "three"}\n')
    reason = r"line 3 has no column 'meta.text' \(it has 'meta'\)"
    refused_or_skipped(path, reason, ["one", "two"], text_column="meta.text")


@pytest.mark.parametrize(
    "name", ["a.txt.gz", "a.markdown", "a.md.zst", "a.ndjson", "a.ndjson.gz", "A.TXT.GZ", "a.txt.bz2"]
)
def test_further_endings(tmp_path: Path, name: str) -> None:
    raw = b'{"text": "calm"}\n' if "ndjson" in name else b"calm"
    (tmp_path / "a").write_bytes(raw)
    kind = Path(name.lower()).suffix
    if kind == ".bz2":
        raw = bz2.compress(raw)
    (tmp_path / name).write_bytes(compress(raw, kind) if kind in (".gz", ".zst") else raw)
    (document,), _ = read(tmp_path / name)
    assert document.text == "calm"
    assert document.title.lower() == "a, line 1" if "ndjson" in name else "a"


def test_pages_of_html(tmp_path: Path) -> None:
    page = "<html><head><meta charset='{}'><title>The\n Sea</title></head><p>calm &mdash; été<p>sail</html>"
    for name, charset in (("a.html", "utf-8"), ("b.htm", "iso-8859-1"), ("c.xhtml", "windows-1252")):
        (tmp_path / name).write_bytes(page.format(charset).encode(charset))
        (document,), _ = read(tmp_path / name)
        assert (document.title, document.text) == ("The Sea", "calm — été\n\nsail\n")
    (tmp_path / "a.html").write_bytes(page.format("punycode").encode())
    refused_or_skipped(tmp_path / "a.html", r"declares an unknown encoding \(punycode\)", [])


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("deep"), KeyError("?"), OSError(5, "I/O error"), SystemError()]
)
def test_whatever_a_reader_raises_is_its_file_that_cannot_be_read(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, reading: Reading) -> Iterator[RawText]:
        yield RawText(("good",), 1)
        raise error

    monkeypatch.setitem(readers.READERS, ".txt", fail)
    (tmp_path / "a.txt").write_text("x")
    refused_or_skipped(tmp_path / "a.txt", "cannot be read", ["good"])


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_device_that_takes_the_place_of_a_file_is_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    for name in ("b.txt", "b.jsonl", "b.epub", "b.parquet", "b.html", "b.txt.gz"):
        folder = tmp_path / name[2:]
        folder.mkdir()
        (folder / "a.txt").write_text("first")
        (folder / name).write_text("x")
        files = find_corpus_files(folder)
        (folder / name).unlink()
        make(folder / name)
        [dropped] = [each for each in stream_documents(files, errors="skip") if isinstance(each, Dropped)]
        assert "is not a regular file" in dropped.skipped.reason
