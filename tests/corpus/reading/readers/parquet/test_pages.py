"""The pages of Parquet: what takes more memory than a file's size lets expect is refused before it is expanded."""

import io
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from revlm.corpus.reading.readers.parquet import pages
from revlm.corpus.reading.readers.parquet.footer import Chunk, ParquetError
from revlm.corpus.reading.readers.parquet.pages import CheckedPages
from revlm.corpus.reading.readers.parquet.rows import ParquetFile
from revlm.limits import DEFAULT_LIMITS, Limits
from tests.corpus.reading.readers.reading import read, refused_or_skipped

BOMB_BYTES = 24 << 20


def written(path: Path, texts: Any, **options: Any) -> Path:
    parquet.write_table(pyarrow.table({"text": texts}), path, **options)
    return path


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("use_dictionary", [False, True])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "brotli"])
def test_a_page_that_expands_without_measure_is_refused(
    tmp_path: Path, compression: str, use_dictionary: bool, version: str
) -> None:
    texts = ["x" * BOMB_BYTES]
    options = {"compression": compression, "use_dictionary": use_dictionary, "data_page_version": version}
    path = written(tmp_path / "bomb.parquet", texts, **options)
    before = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    refused_or_skipped(path, "has a page that expands to more than 200 times its size; pass a higher --max-ratio", [])
    assert max(tracemalloc.get_traced_memory()[1], pyarrow.total_allocated_bytes() - before) < BOMB_BYTES
    tracemalloc.stop()
    (document,), _ = read(path, limits=Limits(max_ratio=1 << 20))
    assert document.text == texts[0]


def test_pages_and_values_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "books.parquet", ["a text"] * 100)
    assert len(read(path)[0]) == 100
    monkeypatch.setattr(pages, "_MAX_VALUES", 99)
    refused_or_skipped(path, "has a page of more than 99 values", [])
    monkeypatch.undo()
    monkeypatch.setattr(pages, "_BOOKS_OF_PAGE", 0)
    refused_or_skipped(path, "has a page of more than 0 bytes; pass a higher --max-line-bytes", [])


@pytest.mark.parametrize(
    "kind",
    [pyarrow.list_(pyarrow.string()), pyarrow.struct({"a": pyarrow.string()}), pyarrow.binary(1 << 20)],
)
def test_a_column_that_is_no_text_is_not_read(tmp_path: Path, kind: pyarrow.DataType) -> None:
    nothing = pyarrow.array([None] * 2, kind)
    parquet.write_table(pyarrow.table({"text": nothing}), tmp_path / "of_text.parquet")
    refused_or_skipped(
        tmp_path / "of_text.parquet", "has values of type .* in 'text', not texts; name the text column", []
    )
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "title": nothing}), tmp_path / "of_title.parquet")
    assert [document.text for document in read(tmp_path / "of_title.parquet")[0]] == ["a", "b"]


def pages_of(content: bytes, sizes: random.Random | None = None, **changes: int) -> None:
    """Reads a file of one column through the check, in steps of any size."""
    column = parquet.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    chunk = Chunk(start, start + column.total_compressed_size, column.total_uncompressed_size)
    pages = CheckedPages(io.BytesIO(content), DEFAULT_LIMITS)
    pages.watch([chunk._replace(**changes)])
    pages.seek(start)
    while pages.read(sizes.randrange(1, 40) if sizes else 1 << 20):
        pass


def test_headers_are_found_in_reads_of_any_size_and_damage_is_named(tmp_path: Path) -> None:
    texts = [f"{number} " * 40 for number in range(300)]
    options: dict[str, Any] = {"data_page_size": 1 << 9, "write_batch_size": 8, "compression": "none"}
    content = written(tmp_path / "books.parquet", texts, **options).read_bytes()
    draws = random.Random(0)
    for _ in range(5):
        pages_of(content, draws)
    with pytest.raises(ParquetError, match="larger than its column says"):
        pages_of(content, expanded=1)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[draws.randrange(4, len(content) - 1_000)] ^= 1 << draws.randrange(8)
        try:
            pages_of(bytes(damaged), draws)
        except ParquetError as error:
            assert "a page of it" in str(error) or "has a page" in str(error)  # noqa: PT017


def test_columns_within_each_other_and_gaps_are_damage() -> None:
    pages = CheckedPages(io.BytesIO(bytes(100)), DEFAULT_LIMITS)
    with pytest.raises(ParquetError, match="lie within each other"):
        pages.watch([Chunk(4, 50, 1), Chunk(40, 60, 1)])
    pages.watch([Chunk(4, 50, 1)])
    pages.seek(20)
    with pytest.raises(ParquetError, match="behind a gap"):
        pages.read(10)


def test_rows_of_a_large_group_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {number}" for number in range(100)]
    path = written(tmp_path / "books.parquet", texts, row_group_size=30)
    monkeypatch.setattr("revlm.corpus.reading.readers.parquet.rows._SMALL_GROUP_BYTES", 0)
    with path.open("rb") as file:
        rows = ParquetFile(file, DEFAULT_LIMITS).rows(["text"], 1)
        assert [row["text"].as_py() for row in rows] == texts[30:]
