"""FASTA: a record is a document with its letters as they are; a bad file is named in one sentence."""

import bz2
import codecs
import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pytest

from revlm.corpus.reading.corpus_files import find_corpus_files
from revlm.corpus.reading.documents import stream_documents
from revlm.corpus.reading.events import Piece
from revlm.corpus.reading.readers import Reading
from revlm.corpus.reading.readers.fasta import read_fasta
from revlm.corpus.reading.readers.raw import RawText
from revlm.limits import Limits
from tests.corpus.reading.readers.reading import bytes_counted, read, refused_or_skipped

RECORDS = b"\n>NC_1 Escherichia coli,  complete\xc2\xa0genome\r\nACGTacgtNN\r\nRYK\r\n\n>\nMKV*\n--x.>\n\n>empty\n>last"
RECORDS = RECORDS.replace(b"--x.>", b"--x.") + b"\nGATTACA"
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda raw: pyarrow.compress(raw, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("ending", [".fa", ".fasta", ".FNA", ".faa"])
def test_a_record_is_a_document_with_its_letters_as_they_are(tmp_path: Path, ending: str, compression: str) -> None:
    path = tmp_path / f"some genome{ending}{compression}"
    path.write_bytes(COMPRESS[compression](RECORDS))
    documents, skipped = read(tmp_path)
    assert [each.text for each in documents] == ["ACGTacgtNNRYK", "MKV*--x.", "GATTACA"]
    assert [each.title for each in documents] == [
        "NC_1 Escherichia coli, complete genome",
        "some genome, record 2",
        "last",
    ]
    assert [each.source for each in documents] == [f"{path.name}, record {number}" for number in (1, 2, 4)]
    assert [each.path for each in skipped] == [f"{path.name}, record 3"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("start", [b"", codecs.BOM_UTF8, b" \n\n"])
def test_line_ends_of_every_system(tmp_path: Path, line_end: bytes, start: bytes) -> None:
    path = tmp_path / "a.fa"
    path.write_bytes(start + line_end.join([b">one", b"AC GT", b"AC\t", b"", b">two", b"G"]))
    assert [(each.title, each.text) for each in read(path)[0]] == [("one", "ACGTAC"), ("two", "G")]


@pytest.mark.parametrize("compression", ["", ".gz"])
@pytest.mark.parametrize("width", [80, 0])
def test_a_chromosome_streams_in_pieces_and_resumes_at_each_record(
    tmp_path: Path, width: int, compression: str
) -> None:
    letters = random.Random(1).choices(b"ACGT", k=4_600_000)
    chromosome = bytes(letters)
    lines = [chromosome[start : start + width] for start in range(0, len(letters), width)] if width else [chromosome]
    path = tmp_path / f"genome.fa{compression}"
    path.write_bytes(COMPRESS[compression](b">small\nA\n>chromosome\n" + b"\n".join(lines) + b"\n>plasmid\nC\n"))
    files = find_corpus_files(path)
    events = list(stream_documents(files))
    pieces = [each for each in events if isinstance(each, Piece)]
    assert "".join(each.text for each in pieces if each.title == "chromosome").encode() == chromosome
    assert max(len(each.text) for each in pieces) < 2 << 20
    ends = [each for each in events if not isinstance(each, Piece)]
    assert sum(each.read_bytes for each in ends) == path.stat().st_size
    assert sum(each.read_bytes for each in pieces) <= path.stat().st_size
    if width:
        for number, end in enumerate(ends):
            left = [each for each in stream_documents(files, after=end.position) if not isinstance(each, Piece)]
            assert left == ends[number + 1 :]


def test_the_pieces_of_the_file_do_not_change_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.fa"
    path.write_bytes(RECORDS)
    whole, _ = read(path)
    for size in (1, 2, 3, 7):
        monkeypatch.setattr("revlm.corpus.reading.readers.fasta.PIECE_BYTES", size)
        assert read(path)[0] == whole
        assert bytes_counted(path) < path.stat().st_size  # the empty record has a share, too


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"ACGT\n>late\nACGT\n", "is not FASTA: no line that begins with > comes before byte offset 0"),
        (b"\n\n; comment\n>a\nAC\n", "no line that begins with > comes before byte offset 2"),
        (b">a\nACGT\n;comment\n", "byte 0x3b at byte offset 8 is not a letter of a sequence"),
        (b">a\nAC\xe9GT\n", "byte 0xe9 at byte offset 5 is not a letter of a sequence"),
        (b">a\nAC\0GT\n", "byte 0x00 at byte offset 5"),
        (b">a\n  1 acgt\n", "byte 0x31 at byte offset 5"),
        (b">a\nAC>GT\n", "byte 0x3e at byte offset 5"),
        (b">caf\xe9\nACGT\n", "is not UTF-8: byte 0xe9 at byte offset 4"),
        (">a\nACGT\n".encode("utf-16"), "is not UTF-8: byte 0xff at byte offset 0"),
        (b">" + b"x" * 2000 + b"\nA\n", "has a description longer than 1,000 bytes; pass a higher --max-line-bytes"),
        (b">" + b"x" * 2000, "has a description longer than 1,000 bytes"),
    ],
)
def test_what_is_not_fasta_is_named_in_one_sentence(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "a.fa"
    path.write_bytes(raw)
    refused_or_skipped(path, message, [], limits=Limits(max_line_bytes=1000))


def test_records_before_the_damage_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    path.write_bytes(b">a\nACGT\n>b\nAC!\n")
    refused_or_skipped(path, "byte 0x21 at byte offset 13", ["ACGT"])


def test_damaged_and_oversized_compression(tmp_path: Path) -> None:
    whole = gzip.compress(b">a\n" + bytes(random.Random(1).choices(b"ACGT", k=100_000)))
    path = tmp_path / "a.fa.gz"
    path.write_bytes(whole[: len(whole) // 2])
    refused_or_skipped(path, "is damaged or truncated after", [])
    path.write_bytes(b"not gzip")
    refused_or_skipped(path, "is damaged or truncated after 0 bytes", [])
    path.write_bytes(gzip.compress(b">a\n" + b"A" * (20 << 20)))
    refused_or_skipped(path, "expands to more than 200 times its size; pass a higher --max-ratio", [])


@pytest.mark.parametrize("content", [b"", b" \n\r\n", codecs.BOM_UTF8])
def test_a_file_without_records_is_listed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.fa").write_bytes(content)
    (tmp_path / "b.fa").write_bytes(b">b\nA")
    documents, skipped = read(tmp_path)
    assert [each.text for each in documents] == ["A"]
    assert [(each.path, each.reason) for each in skipped] == [("a.fa", "empty or only white space")]


def test_an_endless_line_is_never_held_and_a_stop_interrupts_it(tmp_path: Path) -> None:
    path = tmp_path / "endless.fa"
    with path.open("wb") as file:
        file.write(b">a\n")
        for _ in range(32):
            file.write(b"A" * (1 << 20))
    asked: list[None] = []
    records: Iterator[RawText] = read_fasta(path, Reading(raise_if_stopped=lambda: asked.append(None)))
    assert max(len(piece) for piece in next(records).pieces) <= 1 << 20
    assert len(asked) >= 32
