import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from revlm.corpus import Tokenizer, tokenize_corpus
from revlm.corpus.store import TokenStore
from revlm.corpus.tokenizer import ByteTokenizer
from revlm.errors import DataError, StorageError, UsageError


@pytest.fixture
def corpus(tmp_path: Path, paragraph: str) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "first.txt").write_text(paragraph * 5, "utf-8")
    (folder / "second_text.md").write_bytes(b"\xef\xbb\xbf" + (paragraph * 2).replace("\n", "\r\n").encode())
    (folder / "cover.jpg").touch()
    (folder / "empty.txt").touch()
    return folder


@pytest.mark.parametrize("tokenizer", [None, "bytes"])
def test_datasets_opens_the_store_and_every_text_is_in_it(
    corpus: Path, tmp_path: Path, paragraph: str, tokenizer: str | None
) -> None:
    import datasets

    summary = tokenize_corpus(corpus, tmp_path / "store", tokenizer=tokenizer, vocab_size=330)
    rows = datasets.load_from_disk(str(tmp_path / "store"))
    texts = [paragraph * 5, paragraph * 2]
    loaded = Tokenizer.load(tmp_path / "store")
    assert [loaded.decode(row["tokens"]) for row in rows] == texts
    assert rows.features["tokens"] == datasets.LargeList(datasets.Value("uint16"))
    assert rows["title"][:] == ["first", "second text"]
    assert rows["source"][:] == ["first.txt", "second_text.md"]
    assert rows["bytes"][:] == [len(text.encode()) for text in texts]
    assert rows["sha256"][:] == [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    assert rows["document"][:] == [0, 1]
    assert rows["part"][:] == [0, 0]
    assert summary.tokens == sum(len(row["tokens"]) for row in rows)
    assert summary.bytes == sum(rows["bytes"])


def test_the_summary_counts_what_was_removed_and_lists_what_was_skipped(corpus: Path, tmp_path: Path) -> None:
    summary = tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    files_bytes = sum((corpus / name).stat().st_size for name in ("first.txt", "second_text.md"))
    assert summary.cleaning.file_bytes == files_bytes == summary.bytes + summary.cleaning.removed_bytes
    assert (summary.cleaning.byte_order_marks, summary.cleaning.crlf_line_ends) == (1, 6)
    assert {skipped.path for skipped in summary.skipped} == {"cover.jpg", "empty.txt"}
    documents = list(TokenStore(summary.output_dir).documents())
    assert [document.tokens for document in documents] == [document.bytes for document in documents]


def test_long_documents_take_several_rows(corpus: Path, tmp_path: Path, paragraph: str) -> None:
    import datasets

    summary = tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", row_tokens=300)
    rows = datasets.load_from_disk(str(tmp_path / "store"))
    stored = list(TokenStore(summary.output_dir).documents())
    assert max(len(tokens) for tokens in rows["tokens"]) == 300
    for document, text in enumerate([paragraph * 5, paragraph * 2]):
        parts = [row for row in rows if row["document"] == document]
        assert [row["part"] for row in parts] == list(range(stored[document].parts))
        assert bytes(token for row in parts for token in row["tokens"]).decode() == text


def test_the_manifest_names_every_file_with_its_sha256(corpus: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    tokenize_corpus(corpus, store, vocab_size=330)
    manifest = json.loads((store / "manifest.json").read_text())
    assert set(manifest["files"]) == {path.name for path in store.iterdir()} - {"manifest.json"}
    for name, expected in manifest["files"].items():
        content = (store / name).read_bytes()
        assert expected == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert manifest["tokenizer"]["fingerprint"] == Tokenizer.load(store).fingerprint
    assert manifest["skipped"] == 2
    assert [skipped.path for skipped in TokenStore(store).skipped()] == ["cover.jpg", "empty.txt"]


def test_the_same_corpus_gives_the_same_bytes_on_disk(corpus: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        tokenize_corpus(corpus, tmp_path / name, vocab_size=330)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_a_tokenizer_can_be_given(corpus: Path, tmp_path: Path) -> None:
    tokenize_corpus(corpus, tmp_path / "one", vocab_size=330)
    for given in (tmp_path / "one", tmp_path / "one" / "tokenizer.model"):
        tokenize_corpus(corpus, tmp_path / "two", tokenizer=given)
        assert (tmp_path / "two" / "manifest.json").read_bytes() == (tmp_path / "one" / "manifest.json").read_bytes()


def test_a_vocabulary_above_65536_is_stored_as_uint32(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paragraph: str
) -> None:
    import datasets

    monkeypatch.setattr(ByteTokenizer, "vocab_size", 65537)
    tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    rows = datasets.load_from_disk(str(tmp_path / "store"))
    assert rows.features["tokens"] == datasets.LargeList(datasets.Value("uint32"))
    assert bytes(rows[1]["tokens"]).decode() == paragraph * 2


@pytest.mark.parametrize(("tokenizer", "passes"), [(None, 2), ("bytes", 1)])
def test_progress_counts_bytes_up_to_all_of_them(
    corpus: Path, tmp_path: Path, tokenizer: str | None, passes: int
) -> None:
    calls: list[tuple[int, int, str]] = []
    tokenize_corpus(
        corpus,
        tmp_path / "store",
        tokenizer=tokenizer,
        vocab_size=330,
        progress=lambda *call: calls.append(call),
    )
    done = [call[0] for call in calls]
    total = passes * sum((corpus / name).stat().st_size for name in ("first.txt", "second_text.md"))
    assert done == sorted(done)
    assert {call[1] for call in calls} == {total}
    assert (done[0], done[-1]) == (0, total)
    assert calls[-1][2] == "second text"


def test_a_text_that_decodes_differently_is_never_stored(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = ByteTokenizer.encode

    def lossy(self: ByteTokenizer, text: str) -> npt.NDArray[np.int32]:
        ids = encode(self, text)
        ids[100:] = np.where(ids[100:] == ord("w"), ord("v"), ids[100:])
        return ids

    monkeypatch.setattr(ByteTokenizer, "encode", lossy)
    offset = (corpus / "first.txt").read_bytes().index(b"w", 100)
    with pytest.raises(DataError, match=rf"does not give first\.txt back: .* byte offset {offset} on"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


@pytest.mark.parametrize("tokenizer", [None, "bytes"])
def test_a_file_that_is_not_utf8_stops_unless_skipped(corpus: Path, tmp_path: Path, tokenizer: str | None) -> None:
    (corpus / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"latin\.txt is not UTF-8: byte 0xe9 at byte offset 3"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer=tokenizer, vocab_size=330)
    assert not (tmp_path / "store").exists()
    summary = tokenize_corpus(corpus, tmp_path / "store", tokenizer=tokenizer, vocab_size=330, errors="skip")
    assert summary.documents == 2
    assert "latin.txt" in {skipped.path for skipped in summary.skipped}


@pytest.mark.parametrize("tokenizer", [None, "bytes"])
def test_a_corpus_with_nothing_left_is_an_error(tmp_path: Path, tokenizer: str | None) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "blank.txt").write_text(" \n")
    with pytest.raises(DataError, match=r"no text is left .*blank\.txt: empty or only white space"):
        tokenize_corpus(tmp_path / "texts", tmp_path / "store", tokenizer=tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_wrong_use_leaves_the_old_store_alone(corpus: Path, tmp_path: Path) -> None:
    tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    before = (tmp_path / "store" / "manifest.json").read_bytes()
    with pytest.raises(UsageError, match="smallest that works"):
        tokenize_corpus(corpus, tmp_path / "store", vocab_size=20)
    with pytest.raises(DataError, match="cannot be read"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer=tmp_path / "missing.model")
    assert (tmp_path / "store" / "manifest.json").read_bytes() == before
    tokenize_corpus(corpus, tmp_path / "store", vocab_size=330)
    assert (tmp_path / "store" / "tokenizer.model").exists()
    assert not (tmp_path / "store" / "tokenizer.json").exists()


def test_a_folder_that_is_no_store_is_refused(corpus: Path) -> None:
    with pytest.raises(StorageError, match="did not make it"):
        tokenize_corpus(corpus, corpus, tokenizer="bytes")
    assert (corpus / "first.txt").exists()
