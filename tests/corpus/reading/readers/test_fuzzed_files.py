"""Damaged and made-up files of every format: each is read or named, within time and memory, never anything else.

Whole small files are changed in structured ways and in their bytes, by seed. The files are read in a process of their
own, so that neither a crash of a library nor its memory can be missed.
"""

import gzip
import io
import json
import multiprocessing
import random
import re
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from revlm.corpus import read_documents
from revlm.corpus.reading.refusing import Skipped
from revlm.errors import DataError
from tests.corpus.reading.readers.parquet.footers import change_somewhere, with_footer

MAX_SECONDS, MAX_BYTES = 30, 1 << 30
SNIPPETS = (
    b"<", b">", b"&", b"&a;", b"]]>", b"<![CDATA[", b"<!--", b"<!DOCTYPE a [<!ENTITY a '&a;&a;'>", b"<svg><text>",
    b"<math>", b"</head>", b"<title>", b"<ruby><rt>", b"<mfrac><mi>", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9",
    b"\x1b$B", b"{", b"[[[[", b'"', b"\\ud800", b"1e999", b"9" * 5000, b"\n", b"\r", b"PAR1", b"PK\1\2", b"PK\5\6",
    b"\xff" * 4, b"\x28\xb5\x2f\xfd",
)  # fmt: skip
CONTAINER = b'<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>'
PACKAGE = b"""<package xmlns:dc="d"><dc:title>T</dc:title><manifest>
<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/><item id="b" href="b.svg" media-type="image/svg+xml"/>
<item id="c" href="c.pdf" media-type="application/pdf" fallback="a"/></manifest>
<spine><itemref idref="a"/><itemref idref="b"/><itemref idref="c"/></spine></package>"""
CHAPTER = (
    b'<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html [<!ENTITY x "y">]><html><head><title>t</title></head><body>'
    b"<h1>One</h1><p>a &x; &nbsp;<ruby>b<rt>c</rt></ruby><br/>d</p><pre> e\n</pre>"
    b"<table><tr><td>f</td></tr></table></body></html>"
)
DRAWING = b"<svg><text><tspan>One</tspan><tspan>Two</tspan></text></svg>"
LINES = b"".join(
    json.dumps({"text": f"line {n} \u00e9", "title": "t", "n": [n, {"m": None}]}).encode() + b"\n" for n in range(5)
)


def mutated(raw: bytes, changes: list[tuple[str, int, int, bytes]]) -> bytes:
    """The bytes after changes at places that wrap around their length."""
    for kind, place, length, piece in changes:
        at = place % (len(raw) + 1)
        if kind == "insert":
            raw = raw[:at] + piece + raw[at:]
        elif kind == "replace":
            raw = raw[:at] + piece + raw[at + len(piece) :]
        elif kind == "cut":
            raw = raw[:at] + raw[at + length :]
        elif kind == "double":
            raw = raw[: at + length] + raw[at:]
        elif raw:
            at %= len(raw)
            raw = raw[:at] + bytes([raw[at] ^ (1 << length % 8)]) + raw[at + 1 :]
    return raw


CHANGE = st.tuples(
    st.sampled_from(("insert", "replace", "cut", "double", "flip")),
    st.integers(0, 1 << 16),
    st.integers(0, 300),
    st.sampled_from(SNIPPETS) | st.binary(max_size=8),
)
CHANGES = st.lists(CHANGE, max_size=4)


@st.composite
def ebooks(draw: st.DrawFn) -> tuple[str, bytes]:
    files = {
        "META-INF/container.xml": CONTAINER, "b.opf": PACKAGE, "a.xhtml": CHAPTER, "b.svg": DRAWING,
        "META-INF/encryption.xml": b"<e><CipherReference URI='font.otf'/></e>",
    }  # fmt: skip
    for name in draw(st.lists(st.sampled_from(sorted(files)), max_size=2)):
        files[name] = mutated(files[name], draw(CHANGES))
    dropped = draw(st.sampled_from(["", "", "", "a.xhtml", "b.opf"]))
    buffer = io.BytesIO()
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            if name != dropped:
                archive.writestr(name, content)
    return ".epub", mutated(buffer.getvalue(), draw(st.lists(CHANGE, max_size=1) | CHANGES))


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, bytes]:
    raw = mutated(LINES, draw(CHANGES))
    ending = draw(
        st.sampled_from([".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst", ".txt", ".txt.gz", ".html", ".md.zst"])
    )
    return packed(draw, ending, raw)


@st.composite
def sequences(draw: st.DrawFn) -> tuple[str, bytes]:
    raw = mutated(b">one first \xc3\xa9\r\nACGT\nNNnn\n\n>\nMKV*\n>empty\n>last\nA-C", draw(CHANGES))
    return packed(draw, draw(st.sampled_from([".fa", ".fasta", ".fna.gz", ".faa.zst"])), raw)


def packed(draw: st.DrawFn, ending: str, raw: bytes) -> tuple[str, bytes]:
    """The file, compressed as its extension says, and perhaps damaged once more."""
    if ending.endswith(".gz"):
        raw = mutated(gzip.compress(raw), draw(st.lists(CHANGE, max_size=1)))
    if ending.endswith(".zst"):
        raw = mutated(pyarrow.compress(raw, codec="zstd", asbytes=True), draw(st.lists(CHANGE, max_size=1)))
    return ending, raw


def table(compression: str, nested: bool) -> bytes:
    rows = [{"text": f"row {n} \u00e9" * 3, "title": "t", "n": n} for n in range(20)]
    if nested:
        rows = [{"text": {"text": row["text"]}, "n": [row["n"]]} for row in rows]
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), buffer, compression=compression, row_group_size=7)
    return buffer.getvalue()


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, bytes]:
    raw = table(draw(st.sampled_from(["none", "snappy", "zstd"])), draw(st.booleans()))
    return ".parquet", mutated(raw, draw(CHANGES))


@st.composite
def footers(draw: st.DrawFn) -> tuple[str, bytes]:
    draws = random.Random(draw(st.integers(0, 1 << 40)))
    raw = table(draw(st.sampled_from(["none", "zstd"])), draw(st.booleans()))
    return ".parquet", with_footer(
        raw, lambda values: [change_somewhere(values, draws) for _ in range(draws.randint(1, 3))]
    )


RAW = st.tuples(
    st.sampled_from([".epub", ".jsonl", ".parquet", ".jsonl.gz", ".txt.zst", ".html", ".txt"]), st.binary(max_size=300)
)
KINDS: dict[str, Any] = {
    "e-books": ebooks(),
    "lines": lines(),
    "sequences": sequences(),
    "tables": tables(),
    "footers": footers(),
    "bytes": RAW,
}


def read_in_both_ways(path: Path) -> None:
    skipped: list[Skipped] = []
    for column in ("text", "text.text"):
        texts = [each.text for each in read_documents(path, errors="skip", text_column=column, on_skip=skipped.append)]
        "".join(texts).encode()
        said = ""
        try:
            strict = [each.text for each in read_documents(path, text_column=column)]
        except DataError as error:
            said = str(error)
        assert said or strict == texts
        assert len(said) < 2_000
        assert len(said.splitlines()) <= 1


def try_files(kind: str, count: int) -> tuple[int, float, int]:
    """Returns how many files were tried, the most seconds that one took, and the most memory of the process."""
    tried, slowest = 0, 0.0
    with TemporaryDirectory() as folder:

        @settings(
            max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(file=KINDS[kind])
        def each(file: tuple[str, bytes]) -> None:
            nonlocal tried, slowest
            ending, raw = file
            path = Path(folder, f"file{ending}")
            path.write_bytes(raw)
            began = time.perf_counter()
            read_in_both_ways(path)
            tried, slowest = tried + 1, max(slowest, time.perf_counter() - began)

        each()
    # `ru_maxrss` begins with what the parent held when it started this process.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return tried, slowest, int(peak[1]) << 10


def try_kinds(kinds: list[str], count: int) -> dict[str, tuple[int, float, int]]:
    """Tries one kind after the other; the memory is the most up to there."""
    return {kind: try_files(kind, count) for kind in kinds}


def require_bounds(kinds: list[str], count: int) -> None:
    """Tries them in a process of its own, whose imports take longer than a few files."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(try_kinds, kinds, count).result()
    for kind, (tried, slowest, peak_bytes) in found.items():
        print(f"{kind}: {tried:,} files, the slowest {slowest:.2f} s, at most {peak_bytes / 2**20:,.0f} MiB")
        assert tried >= count // 2, kind  # hypothesis ends early where it has tried all there is
        assert slowest < MAX_SECONDS, kind
        assert peak_bytes < MAX_BYTES, kind


def test_some_damaged_files_are_read_or_named() -> None:
    require_bounds(list(KINDS), 50)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_read_or_named(kind: str) -> None:
    require_bounds([kind], 4_000)
