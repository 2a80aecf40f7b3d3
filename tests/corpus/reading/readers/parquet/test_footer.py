"""The footers of Parquet: what pyarrow does not bear does not reach it, and what lies is named."""

import io
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from revlm.corpus.reading.readers.parquet import footer, thrift
from revlm.corpus.reading.readers.parquet.footer import ParquetError, read_footer
from revlm.corpus.reading.readers.parquet.thrift import BINARY, I32, ListOf, Struct, Values, read_struct
from tests.corpus.reading.readers.parquet.footers import FILE, with_footer
from tests.corpus.reading.readers.reading import read, refused_or_skipped

TABLE = pyarrow.table(
    {
        "text": ["one", "two", "three", "four"],
        "nested": [{"text": "a", "numbers": [1]}] * 4,
        "large": pyarrow.array(["a"] * 4, pyarrow.large_string()),
        "words": pyarrow.array(["a"] * 4).dictionary_encode(),
        "bytes": [b"b"] * 4,
    }
)


def raw(**options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(TABLE, buffer, row_group_size=2, write_page_index=True, **options)
    return buffer.getvalue()


def first_column(values: Values) -> Values:
    column: Values = values[4][0][1][0][3]
    return column


def histograms(values: Values) -> None:
    column = first_column(values)
    assert column[16], "pyarrow writes size statistics"
    column[16][3] = [1] * 5  # pyarrow ends the process


def test_contradictions_that_end_the_process_do_not_reach_pyarrow(tmp_path: Path) -> None:
    path = tmp_path / "contradicts.parquet"
    path.write_bytes(with_footer(raw(), histograms))
    assert [document.text for document in read(path)[0]] == TABLE["text"].to_pylist()
    with path.open("rb") as file:
        metadata = read_footer(file).metadata
        columns = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
    for column in columns:
        assert not column.is_stats_set
        assert not column.has_column_index
        assert not column.has_offset_index
        assert column.metadata is None
    assert metadata.metadata is None
    assert metadata.num_rows == 4


def test_the_columns_of_a_schema_have_the_paths_and_places_that_pyarrow_finds() -> None:
    content = raw()
    of_pyarrow = parquet.ParquetFile(io.BytesIO(content)).metadata
    footer = read_footer(io.BytesIO(content))
    assert footer.columns == [of_pyarrow.schema.column(number).path for number in range(of_pyarrow.num_columns)]
    for number, group in enumerate(footer.groups):
        assert group.rows == 2
        for index, chunk in enumerate(group.chunks):
            column = of_pyarrow.row_group(number).column(index)
            assert chunk.start == (column.dictionary_page_offset or column.data_page_offset)
            assert chunk.end - chunk.start == column.total_compressed_size
            assert chunk.expanded == column.total_uncompressed_size


@pytest.mark.parametrize("column", ["text", "large", "words", "bytes", "nested.text"])
def test_texts_are_read_without_the_types_that_a_writer_adds(tmp_path: Path, column: str) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(raw())
    assert len(read(path, text_column=column)[0]) == 4


def set_at(*path: int, to: Any) -> Any:
    def change(values: Values) -> None:
        *rest, last = path
        inner: Any = values
        for step in rest:
            inner = inner[step]
        if to is None:
            inner.pop(last)
        else:
            inner[last] = to

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_at(2, to=None), "its footer lacks a part"),
        (set_at(4, 0, 1, 0, 3, 9, to=None), "its footer lacks a part"),
        (set_at(4, 0, 1, 0, 3, 9, to=-5), "a column that does not lie within the file"),
        (set_at(4, 0, 1, 0, 3, 7, to=-5), "a column that does not lie within the file"),
        (set_at(4, 0, 1, 0, 3, 6, to=-5), "a column that does not lie within the file"),
        (set_at(4, 0, 1, to=[]), "does not have the columns of its schema"),
        (set_at(4, 1, 3, to=-1), "a number of rows below 0"),
        (set_at(2, 0, 5, to=100), "a schema that is no tree"),
        (set_at(2, 0, 5, to=-1), "a schema that is no tree"),
        (set_at(2, 1, 5, to=1), "a schema that is no tree"),
        (set_at(2, 1, 1, to=None), "a schema that is no tree"),
        (set_at(2, to=[{4: b"a", 5: 1}] * 100 + [{4: b"a", 1: 6}]), "a schema that is nested too deep"),
        (set_at(4, 0, 1, 0, 1, to=b"other.parquet"), "it names other files for them; read those"),
        (set_at(4, 0, 1, 0, 3, to=None), "has an encrypted column; decrypt it first"),
    ],
)  # fmt: skip
def test_a_footer_that_contradicts_itself_is_named(tmp_path: Path, change: Any, reason: str) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(with_footer(raw(), change))
    refused_or_skipped(path, reason, [])


def test_ends_of_files_that_are_no_footers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    content = raw()
    for damaged in (b"", b"PAR1", content[:-1], content[:-8] + b"\xff\xff\xff\x7fPAR1", content[:-8] + bytes(4)):
        with pytest.raises(ParquetError, match="is damaged or not a Parquet file"):
            read_footer(io.BytesIO(damaged))
    with pytest.raises(ParquetError, match="is encrypted"):
        read_footer(io.BytesIO(content[:-1] + b"E"))
    monkeypatch.setattr(footer, "_FIRST_READ_BYTES", 8)
    assert len(read_footer(io.BytesIO(content)).groups) == 2
    monkeypatch.setattr(footer, "_MAX_FOOTER_BYTES", 100)
    with pytest.raises(ParquetError, match="has a footer of more than 100 bytes"):
        read_footer(io.BytesIO(content))


def test_a_footer_whose_columns_have_other_names_is_held_against_the_limits(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": ["x" * (24 << 20)]}), buffer, compression="zstd")
    path = tmp_path / "bomb.parquet"
    path.write_bytes(with_footer(buffer.getvalue(), set_at(4, 0, 1, 0, 3, 3, to=[b"other"])))
    refused_or_skipped(path, "has a page that expands to more than 200 times its size", [])


def test_what_these_tests_change_is_what_pyarrow_writes() -> None:
    content = raw()
    same = with_footer(content, lambda _: None)
    metadata = parquet.read_metadata(io.BytesIO(same))
    assert metadata.schema == parquet.read_metadata(io.BytesIO(content)).schema
    assert metadata.metadata is not None
    assert set(FILE.fields) >= {1, 2, 3, 4}


def test_structures_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for nested in (b"\x19" * 100, b"\x1c" * 100, b"\x1b\x01\xbb" + b"\x01\xbb" * 100):
        with pytest.raises(ValueError, match="nested too deep"):
            read_struct(b"\xf0\0" + nested, 2, Struct({}))
    with pytest.raises(IndexError):
        read_struct(b"\x18\xff\xff\xff\xff\x07", 0, Struct({1: BINARY}))
    with pytest.raises(ValueError, match="too large"):
        read_struct(b"\x15\xff\xff\xff\xff\x7f\0", 0, Struct({1: I32}))
    monkeypatch.setattr(thrift, "_MAX_VALUES", 10)
    with pytest.raises(ValueError, match="more than 10 values"):
        read_struct(b"\x19\xf5\x7f" + bytes(200), 0, Struct({1: ListOf(I32)}))
