"""Each format but e-books, and each way in which a file of it can be bad: path, place and remedy are named."""

import codecs
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from revlm.corpus import read_documents
from revlm.errors import DataError
from tests.corpus.reading.readers.reading import bytes_counted, read, refused_or_skipped

ROWS = [{"text": "First — text.\n", "title": " The\nFirst "}, {"text": "second", "title": None}, {"text": "third"}]


def jsonl(rows: list[object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def compressed(raw: bytes, ending: str) -> bytes:
    if ending == ".gz":
        return gzip.compress(raw)
    return pyarrow.compress(raw, codec="zstd", asbytes=True) if ending == ".zst" else raw


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_lines_of_json(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"books.jsonl{ending}"
    path.write_bytes(compressed(jsonl(ROWS) + b"\n  \n", ending))
    documents, skipped = read(path)
    assert [document.text for document in documents] == [row["text"] for row in ROWS]
    assert [document.title for document in documents] == ["The First", "books, line 2", "books, line 3"]
    assert documents[2].source == f"{path.name}, line 3"
    assert bytes_counted(path) <= path.stat().st_size
    assert skipped == []


def test_a_byte_order_mark_before_the_lines_is_none_of_the_text(tmp_path: Path) -> None:
    for name, raw in (("a.jsonl", jsonl(ROWS)), ("b.jsonl", b"\n" + jsonl(ROWS))):
        (tmp_path / name).write_bytes(codecs.BOM_UTF8 + raw)
        documents, _ = read(tmp_path / name)
        assert [document.text for document in documents] == [row["text"] for row in ROWS]


def test_rows_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "books.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([*ROWS, *[{"text": f"more {i}"} for i in range(30)]]), path)
    documents, skipped = read(tmp_path)
    assert [document.text for document in documents][:4] == ["First — text.\n", "second", "third", "more 0"]
    assert (documents[0].title, documents[1].source) == ("The First", "books.parquet, row 2")
    assert bytes_counted(path) == path.stat().st_size
    assert skipped == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "no end', r"line 2 is not JSON \("),
        (b'{"text": "\xe9"}', "line 2 is not UTF-8: byte 0xe9 at its byte 10"),
        (b'{"text": "\\ud800"}', r"line 2 holds a lone surrogate \(U\+D800\) at character 0"),
        (b'["a list"]', "line 2 is not a JSON object"),
        (b'{"body": "?", "id": 1}', r"line 2 has no column 'text' \(it has 'body', 'id'\).*--text-column"),
        (b'{"text": 7}', "line 2 has a number in 'text', not a text; name the text column with --text-column"),
        (b'{"text": null}', "line 2 has null in 'text', not a text"),
        (b"[" * 100_000, "line 2 holds JSON values nested more than 1,000 deep; pass a higher"),
        (b'{"a":' * 990, "line 2 is not JSON"),
        (b"[" + b"0," * (1 << 20) + b"0,0]", "line 2 holds more than 1,048,576 values"),
        ("{'text'}".encode("utf-16"), "line 2 is not UTF-8"),
        (b'{"text": "' + "Всё смешалось в доме Облонских".encode("cp1251") + b'"}', "CP1251 .*Всё смешалось"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "books.jsonl"
    path.write_bytes(jsonl(ROWS[:1]) + line + b"\n" + jsonl(ROWS[1:]))
    refused_or_skipped(path, reason, [row["text"] for row in ROWS])


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("keep", [0.5, 0.99, 0])
def test_a_compressed_file_that_is_cut_off(tmp_path: Path, ending: str, keep: float) -> None:
    raw = jsonl([{"text": f"{number} {'x' * number}"} for number in range(500)])
    whole = compressed(raw, ending)
    path = tmp_path / f"books.jsonl{ending}"
    path.write_bytes(whole[: int(keep * len(whole))] if keep else b"this is not compressed")
    with pytest.raises(DataError, match=r"is damaged or truncated .*--errors skip"):
        read(path)
    _, (listed,) = read(path, errors="skip")
    assert listed.path == path.name


def test_a_parquet_file_without_the_column_or_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "books.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"body": "text"}]), path)
    refused_or_skipped(path, r"has no column 'text' \(it has 'body'\)", [])
    assert [document.text for document in read(path, text_column="body")[0]] == ["text"]
    path.write_bytes(path.read_bytes()[:-20])
    refused_or_skipped(path, "is damaged or not a Parquet file", [], text_column="body")


@pytest.mark.parametrize("change", [lambda path: path.write_text("more than before"), lambda path: path.unlink()])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "books.jsonl"
    path.write_bytes(jsonl(ROWS))
    documents = read_documents(path)
    next(documents)
    change(path)
    with pytest.raises(DataError, match=r"books\.jsonl (changed while it was read|cannot be read)"):
        list(documents)


def test_a_pattern_means_the_files_that_match(tmp_path: Path) -> None:
    for name in ("a/one.txt", "a/b/two.txt", "a/b/two.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    documents, _ = read(f"{tmp_path}/a/**/*.txt")
    assert [document.source for document in documents] == ["b/two.txt", "one.txt"]
    with pytest.raises(DataError, match="matches no"):
        read(f"{tmp_path}/*.txt")
