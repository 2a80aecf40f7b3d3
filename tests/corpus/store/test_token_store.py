import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest

from revlm.corpus import open_tokenizer, tokenize_corpus
from revlm.corpus.reading import is_store
from revlm.corpus.store import writer as store_writer
from revlm.corpus.store.manifest import read_manifest
from revlm.corpus.store.token_store import StoreFolder, TokenStore
from revlm.errors import DataError
from tests.corpus.store.forging import sign

MakeStore = Callable[..., Path]


def base_of(array: object) -> object:
    """The object at the end of a chain of views."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def names_with_content(store: Path) -> list[str]:
    return [name for name, file in read_manifest(store).files.items() if file.bytes]


def test_tokens_are_views_of_the_file_in_their_parts(make_store: MakeStore) -> None:
    store = make_store(25, 10, 7, row_tokens=10)
    texts = TokenStore(store).texts
    assert [[len(part) for part in text.parts] for text in texts] == [[10, 10, 5], [10], [7]]
    for text in texts:
        for part in text.parts:
            assert part.dtype == np.uint16
            assert not part.flags.owndata
            assert not part.flags.writeable
            assert not isinstance(base_of(part), np.ndarray)


@pytest.mark.parametrize("verified", [False, True])
def test_many_documents_come_in_order_over_several_files(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, verified: bool
) -> None:
    monkeypatch.setattr(store_writer, "FILE_BYTES", 10_000)
    lengths = [1 + number % 5 for number in range(600)]
    store = make_store(*lengths, row_tokens=2)
    assert len(list(store.glob("data-*-of-*.arrow"))) > 2
    opened = TokenStore(store, verified=verified)
    assert [len(text) for text in opened.texts] == lengths
    assert [text.token(0) for text in opened.texts] == [97 + number % 26 for number in range(600)]
    assert opened.titles == [f"text {number:03d}" for number in range(600)]
    assert [document.tokens for document in opened.documents()] == lengths
    rows = datasets.load_from_disk(str(store))
    assert sum(len(tokens) for tokens in rows["tokens"]) == sum(lengths)


def test_the_fingerprint_is_that_of_the_content_wherever_the_corpus_lay(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(40, 10)
    shutil.copytree(tmp_path / "texts", tmp_path / "elsewhere" / "texts")
    tokenize_corpus(tmp_path / "elsewhere" / "texts", tmp_path / "again", tokenizer="bytes")
    one, two = TokenStore(store), TokenStore(tmp_path / "again")
    assert one.manifest.corpus != two.manifest.corpus
    assert one.fingerprint == two.fingerprint


def test_a_byte_that_changed_is_found(make_store: MakeStore) -> None:
    store = make_store(40, 10)
    assert list(StoreFolder(store).damaged_files()) == []
    for name in names_with_content(store):
        whole = (store / name).read_bytes()
        (store / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert list(StoreFolder(store).damaged_files()) == [name]
        with pytest.raises(DataError, match=f"^{name} in .* changed since the store was written"):
            TokenStore(store)
        (store / name).write_bytes(whole)


def test_progress_adds_up_to_the_bytes_of_all_files(make_store: MakeStore) -> None:
    store, seen = make_store(40, 10), list[int]()
    TokenStore(store, lambda n_bytes, name: seen.append(n_bytes))
    assert sum(seen) == read_manifest(store).file_bytes


def test_an_unfinished_or_foreign_folder_is_refused_with_the_remedy(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(10)
    assert is_store(store)
    (store / "manifest.json").unlink()
    for folder in (store, tmp_path):
        assert not is_store(folder)
        with pytest.raises(DataError, match=r"not a token store, it has no manifest\.json; run `revlm tokenize CORPUS"):
            read_manifest(folder)
    with pytest.raises(DataError, match="missing does not exist: check the path, or run"):
        read_manifest(tmp_path / "missing")
    for content, words in (
        ("[]", "is damaged"),
        ('{"format": "revlm tok', "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"format": 1' + "0" * 5000 + "}", "is damaged"),
        ('{"format": "revlm run", "version": 3}', "not the manifest"),
    ):
        (store / "manifest.json").write_text(content)
        assert not is_store(store)
        with pytest.raises(DataError, match=words):
            read_manifest(store)


@pytest.mark.parametrize("name", ["manifest.json", "data-00000-of-00001.arrow", "documents.jsonl", "tokenizer.json"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "broken link", "circle of links", "fails"])
def test_what_cannot_be_read_is_named(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """Nothing waits for a pipe, and a disk that fails does so before the file is mapped."""
    store = make_store(40)
    path = store / name
    content = path.read_bytes()
    if kind == "fails":
        # A file whose reading fails, with whatever size: the memory of this process, at the address 0.
        path.unlink()
        path.symlink_to("/proc/self/mem")
        monkeypatch.setattr(Path, "stat", lambda self, **options: _Sized(os.stat(self), len(content), self == path))
    else:
        path.unlink()
        {
            "folder": path.mkdir,
            "pipe": lambda: os.mkfifo(path),
            "broken link": lambda: path.symlink_to("nowhere"),
            "circle of links": lambda: path.symlink_to(name),
        }[kind]()
    with pytest.raises(DataError, match=name):
        TokenStore(store)


class _Sized:
    """A file's status, with another size where it is the one that fails."""

    def __init__(self, status: os.stat_result, size: int, fails: bool) -> None:
        self.st_mode, self.st_size = status.st_mode, size if fails else status.st_size


def test_a_cut_or_lost_file_is_named(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(10)
    for name in names_with_content(store):
        damaged = tmp_path / "damaged"
        shutil.copytree(store, damaged)
        (damaged / name).write_bytes((store / name).read_bytes()[:-1])
        with pytest.raises(DataError, match=rf"{name} has \d+ bytes and should have"):
            read_manifest(damaged)
        (damaged / name).unlink()
        with pytest.raises(DataError, match=f"{name} is missing"):
            read_manifest(damaged)
        shutil.rmtree(damaged)


@pytest.mark.parametrize("version", [2, 4, "3", None, [3]])
def test_another_version_is_refused(make_store: MakeStore, version: object) -> None:
    store = make_store(10)
    sign(store, version=version)
    with pytest.raises(DataError, match="of the store; run `revlm tokenize"):
        read_manifest(store)


def test_white_space_in_a_manifest_is_a_change(make_store: MakeStore) -> None:
    store = make_store(10)
    content = (store / "manifest.json").read_text()
    for changed in (content + "\n", content.replace('": ', '":  ', 1), content.replace("\n", "\r\n")):
        (store / "manifest.json").write_bytes(changed.encode())
        with pytest.raises(DataError, match="changed since it was written"):
            read_manifest(store)


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": 919_789},
        {"tokens": 1},
        {"tokens": 0},
        {"tokens": -1},
        {"tokens": 51.0},
        {"tokens": True},
        {"tokens": "50"},
        {"tokens": 1 << 70},
        {"documents": 3},
        {"documents": 0},
        {"rows": 1},
        {"rows": 7},
        {"bytes": 0},
        {"bytes": 51},
        {"skipped": 1},
        {"corpus": "elsewhere"},
        {"extra": 1},
        {"token_dtype": "uint32"},
        {"token_dtype": "float64"},
        {"shard": {"number": 2, "count": 1, "corpus": "x"}},
        {"shard": {"number": 1, "count": 1}},
        {"shard": []},
        {"cleaning": {"file_bytes": -1}},
        {"cleaning": {"dust": 1}},
        {"cleaning": None},
        {"files": {}},
        {"files": {"../escape": {"bytes": 0, "sha256": "0" * 64}}},
        {"files": []},
        {"tokenizer": None},
        {"tokenizer": {"kind": "bytes", "file": "tokenizer.json", "vocab_size": 257, "begin_id": 256}},
    ],
)
def test_a_sealed_manifest_that_cannot_be_is_refused(make_store: MakeStore, changes: dict[str, Any]) -> None:
    store = make_store(40, 10)
    TokenStore(store)
    sign(store, **changes)
    with pytest.raises(DataError, match=r"is not a valid manifest of a token store|not a token store that revlm wrote"):
        TokenStore(store)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocab_size", 256),
        ("vocab_size", 258),
        ("begin_id", 255),
        ("begin_id", 257),
        ("kind", "sentencepiece"),
        ("kind", "pickle"),
        ("file", "../tokenizer.json"),
        ("fingerprint", "0" * 64),
    ],
)
def test_a_tokenizer_that_is_not_as_described_is_refused(make_store: MakeStore, key: str, value: object) -> None:
    store = make_store(40)
    sign(store, tokenizer=json.loads((store / "manifest.json").read_text())["tokenizer"] | {key: value})
    for use in (TokenStore, open_tokenizer):
        with pytest.raises(
            DataError, match=r"is not a valid manifest of a token store|not a token store that revlm wrote"
        ):
            use(store)


def test_the_tokenizer_of_a_store_is_verified_where_it_is_named(make_store: MakeStore) -> None:
    store = make_store(40)
    assert open_tokenizer(store).fingerprint == open_tokenizer(store / "tokenizer.json").fingerprint
    (store / "tokenizer.json").write_text((store / "tokenizer.json").read_text().replace("256", "255"))
    for choice in (store, store / "tokenizer.json"):
        with pytest.raises(DataError, match=r"^tokenizer\.json in .* changed since the store was written"):
            open_tokenizer(choice)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "no JSON",
        "[" * 100_000,
        '{"title": 1}',
        '{"tokens": 1' + "0" * 5000 + "}",
    ],
)
@pytest.mark.parametrize("name", ["documents.jsonl", "skipped.jsonl"])
def test_lists_that_hold_something_else_are_named(make_store: MakeStore, name: str, line: str) -> None:
    store = make_store(40)
    (store / name).write_text(line + "\n")
    sign(store)
    with pytest.raises(DataError, match=rf"{name} cannot be read|has 1 lines and should have 0"):
        list(TokenStore(store).skipped())


@pytest.mark.parametrize(
    ("key", "value"),
    [("tokens", 39), ("bytes", 39), ("parts", 2), ("sha256", "0" * 64), ("title", "another"), ("source", "another")],
)
def test_rows_that_are_not_those_of_the_documents_are_refused(make_store: MakeStore, key: str, value: object) -> None:
    store = make_store(40)
    line = json.loads((store / "documents.jsonl").read_text())
    (store / "documents.jsonl").write_text(json.dumps(line | {key: value}) + "\n")
    sign(store)
    with pytest.raises(DataError, match="its rows are not those of document 0"):
        TokenStore(store)


def test_an_id_beyond_the_vocabulary_is_refused(make_store: MakeStore) -> None:
    store = make_store(40, 10)
    (arrow,) = store.glob("*.arrow")
    tokens = TokenStore(store).texts[0].parts[0].tobytes()
    arrow.write_bytes(arrow.read_bytes().replace(tokens, struct.pack("<H", 257) + tokens[2:]))
    sign(store)
    with pytest.raises(DataError, match="it holds the token 257 and the vocabulary ends at 256"):
        TokenStore(store)


def arrow_of(store: Path) -> tuple[Path, pyarrow.Table]:
    (path,) = store.glob("*.arrow")
    return path, pyarrow.ipc.open_stream(path.read_bytes()).read_all()


def write_arrow(path: Path, table: pyarrow.Table, **options: Any) -> None:
    with (
        pyarrow.OSFile(str(path), "wb") as sink,
        pyarrow.ipc.new_stream(sink, table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)) as stream,
    ):
        stream.write_table(table)


def other_tables(table: pyarrow.Table) -> Iterator[pyarrow.Table]:
    """Another type of ids, another name, a column less and one more, metadata, a missing title, an empty row, no rows,
    a row less, rows in another order, a part that cannot be."""
    tokens, part = table["tokens"], table["part"]
    yield table.set_column(0, "tokens", tokens.cast(pyarrow.large_list(pyarrow.int16())))
    yield table.rename_columns(["ids", *table.column_names[1:]])
    yield table.drop_columns(["source"])
    yield table.append_column("more", part)
    yield table.replace_schema_metadata({"huggingface": "{}"})
    yield table.set_column(1, "title", pyarrow.array([None, *table["title"].to_pylist()[1:]]))
    yield table.set_column(0, "tokens", pyarrow.array([[], *tokens.to_pylist()[1:]], table.schema.field(0).type))
    yield table.slice(0, 0)
    yield table.slice(1)
    yield table.take(list(reversed(range(len(table)))))
    yield table.set_column(6, "part", pyarrow.array([7] * len(table), pyarrow.int32()))


@pytest.mark.parametrize("number", range(11))
def test_forged_rows_are_refused(make_store: MakeStore, number: int) -> None:
    store = make_store(40, 10, row_tokens=15)
    path, table = arrow_of(store)
    write_arrow(path, table)
    sign(store)
    TokenStore(store)
    write_arrow(path, list(other_tables(table))[number])
    sign(store)
    for verified in (False, True):
        with pytest.raises(DataError, match=r"\.arrow cannot be read|is not a token store that revlm wrote"):
            TokenStore(store, verified=verified)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_rows_are_refused_before_they_are_unpacked(make_store: MakeStore, codec: str) -> None:
    store = make_store(40_000)
    path, table = arrow_of(store)
    write_arrow(path, table, compression=codec)
    sign(store)
    with pytest.raises(DataError, match="something other than uncompressed rows"):
        TokenStore(store)


def test_damaged_arrow_files_never_crash(make_store: MakeStore) -> None:
    """Also where they are signed: mutations of offsets, lengths and metadata."""
    store = make_store(40, 10, 25, row_tokens=15)
    (arrow,) = store.glob("*.arrow")
    whole, chance = arrow.read_bytes(), random.Random(1)
    opened = 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content))
            content[place : place + chance.choice([1, 4, 8])] = chance.choice(
                [b"\xff", b"\0", b"\xff\xff\xff\x7f", b"\xff" * 8, bytes([content[place] ^ 1 << chance.randrange(8)])]
            )
        arrow.write_bytes(content)
        sign(store)
        with suppress(DataError):
            for text in TokenStore(store).texts:
                assert sum(map(len, text.parts)) == len(text)
            opened += 1
    assert opened < 300
    arrow.write_bytes(b"\xff" * len(whole))
    sign(store)
    with pytest.raises(DataError, match=f"{arrow.name} cannot be read"):
        TokenStore(store)


@pytest.mark.slow
def test_every_single_bit_flip_is_named(tmp_path: Path, paragraph: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every file, in a child process, which would tell of a crash; counts are printed."""
    corpus = tmp_path / "texts"
    corpus.mkdir()
    (corpus / "one.txt").write_text(paragraph * 3, "utf-8")
    (corpus / "two.txt").write_text(paragraph[:100], "utf-8")
    (corpus / "notes.csv").touch()
    tokenize_corpus(corpus, tmp_path / "store", vocab_size=330)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.corpus.store.bit_flips", tmp_path / "store"],
        capture_output=True,
        text=True,
        check=False,
    )
    with capsys.disabled():
        print(f"\n{ended.stdout}", end="")
    assert ended.returncode == 0, ended.stderr
    counts = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {each["file"] for each in counts} == {path.name for path in (tmp_path / "store").iterdir()}
    for each in counts:
        assert each["flips"] == each["named"] == 8 * (tmp_path / "store" / each["file"]).stat().st_size
