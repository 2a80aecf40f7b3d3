import json
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest

from revlm.corpus import store_writer
from revlm.corpus.store import TokenStore, damaged_files, read_manifest
from revlm.corpus.store_folder import is_store
from revlm.errors import DataError

MakeStore = Callable[..., Path]


def base_of(array: object) -> object:
    """The object at the end of a chain of views."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


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


def test_many_documents_come_in_order_over_several_files(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_writer, "FILE_BYTES", 10_000)
    lengths = [1 + number % 5 for number in range(600)]
    store = make_store(*lengths, row_tokens=2)
    assert len(list(store.glob("data-*-of-*.arrow"))) > 2
    opened = TokenStore(store)
    assert [len(text) for text in opened.texts] == lengths
    assert [text.token(0) for text in opened.texts] == [97 + number % 26 for number in range(600)]
    assert opened.titles == [f"text {number:03d}" for number in range(600)]
    assert [document.tokens for document in opened.documents()] == lengths
    rows = datasets.load_from_disk(str(store))
    assert sum(len(tokens) for tokens in rows["tokens"]) == sum(lengths)


def test_a_byte_that_changed_is_found(make_store: MakeStore) -> None:
    store = make_store(40, 10)
    assert list(damaged_files(store)) == []
    for name in (name for name, file in read_manifest(store)["files"].items() if file["bytes"]):
        whole = (store / name).read_bytes()
        (store / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert list(damaged_files(store)) == [name]
        (store / name).write_bytes(whole)


def test_an_unfinished_or_foreign_folder_is_refused_with_the_remedy(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(10)
    assert is_store(store)
    (store / "manifest.json").unlink()
    for folder in (store, tmp_path, tmp_path / "missing"):
        assert not is_store(folder)
        with pytest.raises(DataError, match=r"no token store, it has no manifest\.json; run `revlm tokenize CORPUS"):
            read_manifest(folder)
    (store / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="not the manifest"):
        read_manifest(store)
    (store / "manifest.json").write_text('{"format": "revlm tok')
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(store)


def test_a_cut_or_lost_file_is_named(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(10)
    for name in (name for name, file in read_manifest(store)["files"].items() if file["bytes"]):
        damaged = tmp_path / "damaged"
        shutil.copytree(store, damaged)
        (damaged / name).write_bytes((store / name).read_bytes()[:-1])
        with pytest.raises(DataError, match=rf"{name} has \d+ bytes and should have"):
            read_manifest(damaged)
        (damaged / name).unlink()
        with pytest.raises(DataError, match=f"{name} has 0 bytes"):
            read_manifest(damaged)
        shutil.rmtree(damaged)


def test_a_later_version_is_refused(make_store: MakeStore) -> None:
    store = make_store(10)
    manifest = json.loads((store / "manifest.json").read_text()) | {"version": 3}
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="version 3 of the store"):
        read_manifest(store)


def test_a_damaged_arrow_file_is_an_error(make_store: MakeStore) -> None:
    store = make_store(10)
    (arrow,) = store.glob("*.arrow")
    arrow.write_bytes(b"\xff" * arrow.stat().st_size)
    with pytest.raises(DataError, match=f"{arrow.name} cannot be read"):
        TokenStore(store)
