"""`--tokenizer bytes --binary`: a document is the bytes of a file, whatever they are."""

import base64
import gzip
import hashlib
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from revlm.cli import main
from revlm.corpus import Tokenizer, merge_stores, open_corpus, open_tokenizer, tokenize_corpus
from revlm.corpus.reading.readers import binary
from revlm.corpus.store import decoded, find_damage
from revlm.corpus.store.token_store import TokenStore
from revlm.corpus.tokenizing.tokenizer import BinaryTokenizer, ByteTokenizer
from revlm.errors import DataError, Interrupted, UsageError
from revlm.recipe import Data

CONTENTS = {
    "all.bin": bytes(range(256)) * 3,
    "blank": b" \r\n\t\n\xef\xbb\xbf",
    "folder/notes.txt": "﻿*** START OF THE PROJECT GUTENBERG EBOOK ***\r\nça\r\n".encode(),
    "latin.txt": b"caf\xe9\r\n",
    "log.gz": gzip.compress(b"log " * 1000, mtime=0),
    "nul": b"\0" * 5000,
    "random.dat": random.Random(1).randbytes((1 << 20) + 7),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name, content in CONTENTS.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "files" / "empty").touch()
    os.mkfifo(tmp_path / "files" / "pipe")
    return tmp_path / "files"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_document_is_a_file_byte_for_byte(corpus: Path, tmp_path: Path, workers: int) -> None:
    summary = tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", binary=True, workers=workers)
    store = TokenStore(tmp_path / "store")
    assert [b"".join(decoded(store, number)) for number in range(len(store))] == list(CONTENTS.values())
    assert [each.source for each in store.documents()] == list(CONTENTS)
    assert [each.title for each in store.documents()] == [Path(name).name for name in CONTENTS]
    assert [each.sha256 for each in store.documents()] == [
        hashlib.sha256(each).hexdigest() for each in CONTENTS.values()
    ]
    assert store.tokenizer.document_kind == "binary"
    assert summary.bytes == summary.tokens == summary.cleaning.file_bytes == sum(map(len, CONTENTS.values()))
    assert summary.cleaning.removed_bytes == 0
    assert {each.path: each.reason for each in summary.skipped} == {"empty": "empty", "pipe": "not a regular file"}
    assert not find_damage(tmp_path / "store")


def test_the_tokenizer_of_a_store_says_what_a_document_is(corpus: Path, tmp_path: Path) -> None:
    tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", binary=True)
    assert isinstance(open_tokenizer(tmp_path / "store"), BinaryTokenizer)
    assert type(open_tokenizer("bytes")) is ByteTokenizer
    BinaryTokenizer().save(tmp_path)
    assert isinstance(Tokenizer.load(tmp_path), BinaryTokenizer)
    assert BinaryTokenizer().fingerprint != ByteTokenizer().fingerprint
    again = tokenize_corpus(corpus / "latin.txt", tmp_path / "again", tokenizer=tmp_path / "store")
    assert again.bytes == len(CONTENTS["latin.txt"])
    with pytest.raises(DataError, match="is not UTF-8"):
        tokenize_corpus(corpus / "latin.txt", tmp_path / "text", tokenizer="bytes")


def test_standard_input_is_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"text": "no"}\n\xff\0'
    (tmp_path / "input").write_bytes(content)
    with (tmp_path / "input").open("rb") as file:
        saved = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            tokenize_corpus("-", tmp_path / "store", tokenizer="bytes", binary=True)
        finally:
            os.dup2(saved, 0)
            os.close(saved)
    assert b"".join(decoded(TokenStore(tmp_path / "store"), 0)) == content


def test_only_equal_files_are_duplicates(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    content = random.Random(2).randbytes(1 << 16)
    for name, raw in (("a", content), ("b", content), ("c", content[:-1])):
        (tmp_path / "files" / name).write_bytes(raw)
    summary = tokenize_corpus(tmp_path / "files", tmp_path / "store", tokenizer="bytes", binary=True, deduplicate=True)
    assert (summary.documents, summary.duplicates) == (2, ())
    assert [(each.path, each.reason) for each in summary.skipped] == [("b", "the same text as a")]


def test_it_stops_and_resumes_and_merges_to_the_same_bytes(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "PIECE_BYTES", 1 << 12)
    tokenize_corpus(corpus, tmp_path / "whole", tokenizer="bytes", binary=True)
    asked = iter(range(100))
    with pytest.raises(Interrupted):
        tokenize_corpus(
            corpus, tmp_path / "store", tokenizer="bytes", binary=True, workers=1,
            stop=lambda: "a test" if next(asked, 100) > 60 else None,
        )  # fmt: skip
    tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", binary=True)
    for number in (1, 2):
        tokenize_corpus(corpus, tmp_path / f"{number}", tokenizer="bytes", binary=True, shard=(number, 2))
    merge_stores([tmp_path / "1", tmp_path / "2"], tmp_path / "merged", verify=True)
    for name in ("store", "merged"):
        assert TokenStore(tmp_path / name).fingerprint == TokenStore(tmp_path / "whole").fingerprint


def test_a_stream_of_a_recipe_reads_any_files(corpus: Path) -> None:
    data = Data(stream=str(corpus), tokenizer="binary", seq_len=4096, validation=0, packing="whole")  # type: ignore[arg-type]
    example = next(open_corpus(data, seed=1).training())
    found = bytes(np.asarray(example.targets)[: len(CONTENTS["all.bin"])].astype(np.uint8))
    assert found == CONTENTS["all.bin"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"binary": True}, UsageError, "--binary reads files as bytes, .* give --tokenizer bytes"),
        ({"binary": True, "tokenizer": "text-store"}, UsageError, "the tokenizer .* is for texts"),
        ({"binary": True, "tokenizer": "bytes", "corpus": "hf:owner/name"}, UsageError, "is a dataset of texts"),
        ({"binary": True, "tokenizer": "bytes", "corpus": "text-store"}, DataError, "is a token store"),
        ({"binary": True, "tokenizer": "bytes", "corpus": "nothing"}, DataError, "holds no file that can be read"),
    ],
)
def test_wrong_use_is_one_sentence(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict, error: type, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    tokenize_corpus(corpus / "folder", "text-store", tokenizer="bytes")
    with pytest.raises(error, match=message):
        tokenize_corpus(options.pop("corpus", corpus), tmp_path / "store", **options)


def test_a_store_of_texts_is_not_taken_for_one_of_files(corpus: Path, tmp_path: Path) -> None:
    place = tmp_path / "store"
    tokenize_corpus(corpus / "folder", place, tokenizer="bytes")
    (place / "tokenizer.json").write_bytes(BinaryTokenizer()._file_content())
    with pytest.raises(DataError, match="has 36 bytes and should have 35"):
        TokenStore(place)


def test_a_document_is_printed_as_it_is(
    corpus: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    arguments = ["tokenize", str(corpus), "-o", str(tmp_path / "store"), "--tokenizer", "bytes", "--binary"]
    assert main(arguments) == 0
    capfdbinary.readouterr()
    assert main(["data", "show", str(tmp_path / "store"), "--document", "all.bin"]) == 0
    assert capfdbinary.readouterr().out == CONTENTS["all.bin"]
    assert main(["data", "show", str(tmp_path / "store"), "--document", "all.bin", "--json"]) == 0
    assert base64.b64decode(json.loads(capfdbinary.readouterr().out)["base64"]) == CONTENTS["all.bin"]
    assert main([*arguments, "--show-removed"]) == 2
    assert main(["tokenize", str(corpus), "--binary", "--only-tokenizer"]) == 2
