import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from revlm.corpus import Tokenizer, merge_stores, tokenize_corpus
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.store import spool
from revlm.corpus.store.token_store import TokenStore
from revlm.corpus.tokenizing.tokenizer import LONGEST_PART_CHARACTERS, ByteTokenizer
from revlm.errors import DataError, Interrupted, ResourceError, StorageError, UsageError


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
    datasets.DatasetInfo(features=rows.features).write_to_directory(str(tmp_path))
    assert (tmp_path / "store" / "dataset_info.json").read_bytes() == (tmp_path / "dataset_info.json").read_bytes()


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
    with pytest.raises(DataError, match=rf"does not reproduce first\.txt: .* byte offset {offset} on"):
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


def same_bytes(one: Path, other: Path) -> bool:
    names = {path.name for path in one.iterdir()}
    return names == {path.name for path in other.iterdir()} and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names
    )


def test_the_number_of_workers_changes_nothing(corpus: Path, tmp_path: Path, paragraph: str) -> None:
    """Also for a document of many blocks, and for many documents in one."""
    (corpus / "long.txt").write_text("".join(f"{number} {paragraph}" for number in range(4000)), "utf-8")
    rows = "".join(json.dumps({"text": f"{number} {paragraph}"}) + "\n" for number in range(200))
    (corpus / "rows.jsonl").write_text(rows, "utf-8")
    for workers in (1, 3):
        tokenize_corpus(corpus, tmp_path / f"store {workers}", vocab_size=330, workers=workers)
    assert same_bytes(tmp_path / "store 1", tmp_path / "store 3")
    texts = {document.source: document for document in TokenStore(tmp_path / "store 1").documents()}
    raw = (corpus / "long.txt").read_bytes()
    assert texts["long.txt"].sha256 == hashlib.sha256(raw).hexdigest()
    assert texts["long.txt"].bytes == len(raw)


def test_a_long_line_without_a_place_to_cut_is_kept(corpus: Path, tmp_path: Path) -> None:
    (corpus / "line.txt").write_text("x" * (3 * LONGEST_PART_CHARACTERS + 5))
    tokenize_corpus(corpus, tmp_path / "store", vocab_size=330)
    store = TokenStore(tmp_path / "store")
    (text,) = (text for text, title in zip(store.texts, store.titles, strict=True) if title == "line")
    assert store.tokenizer.decode(np.concatenate(text.parts)) == "x" * (3 * LONGEST_PART_CHARACTERS + 5)


@pytest.mark.parametrize("tokenizer", [None, "bytes"])
def test_work_that_is_stopped_goes_on(corpus: Path, tmp_path: Path, tokenizer: str | None) -> None:
    """At each moment at which a stop can come; the same call then gives what it would have given at once."""
    options = {"tokenizer": tokenizer, "vocab_size": 330}
    tokenize_corpus(corpus, tmp_path / "whole", **options)
    stopped = 0
    while True:
        try:
            tokenize_corpus(corpus, tmp_path / "store", **options, stop=stop_after(stopped))
            break
        except Interrupted:
            stopped += 1
        assert not (tmp_path / "store").exists()
        messages: list[str] = []
        tokenize_corpus(corpus, tmp_path / "store", **options, message=messages.append)
        assert same_bytes(tmp_path / "store", tmp_path / "whole")
        shutil.rmtree(tmp_path / "store")
    assert stopped > 4
    assert {path.name for path in tmp_path.iterdir()} == {"texts", "whole", "store"}


def stop_after(events: int) -> Callable[[], str | None]:
    asked = iter(range(1000))
    return lambda: "SIGTERM" if next(asked) == events else None


def test_other_work_starts_over_and_says_so(corpus: Path, tmp_path: Path) -> None:
    def begin() -> None:
        with pytest.raises(Interrupted):
            tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", stop=stop_after(9))

    def messages_of(**options: object) -> list[str]:
        messages: list[str] = []
        call = {"tokenizer": "bytes", "message": messages.append, **options}
        tokenize_corpus(corpus, tmp_path / "store", **call)  # type: ignore[arg-type]
        return messages

    begin()
    assert ["resuming after" in message for message in messages_of()] == [True]
    begin()
    assert messages_of(resume=False) == []
    begin()
    assert ["starting over" in message for message in messages_of(deduplicate=True)] == [True]
    begin()
    (corpus / "first.txt").write_text("another text")
    assert ["starting over" in message for message in messages_of()] == [True]
    assert TokenStore(tmp_path / "store").texts[0].parts[0].tobytes().decode("utf-16-le") == "another text"


def test_a_bad_file_found_late_loses_nothing(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strict stops there; the same work with `errors="skip"` goes on from it."""
    monkeypatch.setattr(spool, "COMMIT_BYTES", 1)
    (corpus / "z.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="not UTF-8"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    messages: list[str] = []
    summary = tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", errors="skip", message=messages.append)
    assert ["resuming after" in message for message in messages] == [True]
    assert summary.documents == 2
    tokenize_corpus(corpus, tmp_path / "other", tokenizer="bytes", errors="skip")
    assert same_bytes(tmp_path / "store", tmp_path / "other")


def test_two_processes_do_not_write_one_store(corpus: Path, tmp_path: Path) -> None:
    refused: list[StorageError] = []

    def meanwhile() -> None:
        if not refused:
            with pytest.raises(StorageError, match="in use by process") as raised:
                tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
            refused.append(raised.value)

    tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", stop=meanwhile)
    assert refused


def test_duplicates_are_named_or_left_out(corpus: Path, tmp_path: Path, paragraph: str) -> None:
    """The same text in another file, also with other line ends, and after the work was stopped and went on."""
    (corpus / "third.txt").write_bytes((paragraph * 5).replace("\n", "\r\n").encode())
    summary = tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    assert summary.duplicates == (("third.txt", "the same text as first.txt"),)
    assert summary.documents == 3
    with pytest.raises(Interrupted):
        tokenize_corpus(corpus, tmp_path / "without", tokenizer="bytes", deduplicate=True, stop=stop_after(9))
    summary = tokenize_corpus(corpus, tmp_path / "without", tokenizer="bytes", deduplicate=True)
    assert (summary.documents, summary.duplicates) == (2, ())
    assert Skipped("third.txt", "the same text as first.txt") in summary.skipped


def test_a_worker_that_is_killed_is_an_error_with_a_remedy(corpus: Path, tmp_path: Path, paragraph: str) -> None:
    (corpus / "long.txt").write_text("".join(f"{number} {paragraph}" for number in range(20_000)), "utf-8")

    def kill_a_worker() -> None:
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # one that was killed at an earlier poll may be collected here
                if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline()):
                    child.kill()

    with pytest.raises(ResourceError, match=r"one of 2 worker processes was killed.*fewer --workers"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", workers=2, stop=kill_a_worker)


def test_what_a_shard_cannot_do_alone_is_refused_with_the_remedy(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"needs the tokenizer that all shards share: .*--only-tokenizer -o DIR"):
        tokenize_corpus(corpus, tmp_path / "store", shard=(1, 2))
    with pytest.raises(UsageError, match="leave --deduplicate out, and give it to `revlm data merge`"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", shard=(1, 2), deduplicate=True)
    with pytest.raises(UsageError, match="too few files for 4 shards"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", shard=(1, 4))
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_a_shard_is_its_part_of_the_whole(corpus: Path, tmp_path: Path) -> None:
    whole, shards = tmp_path / "whole", [tmp_path / "1", tmp_path / "2"]
    tokenize_corpus(corpus, whole, tokenizer="bytes")
    for number, shard in enumerate(shards, 1):
        tokenize_corpus(corpus, shard, tokenizer="bytes", shard=(number, 2))
        assert json.loads((shard / "manifest.json").read_text())["shard"]["number"] == number
    for name in ("documents.jsonl", "skipped.jsonl"):
        assert b"".join((shard / name).read_bytes() for shard in shards) == (whole / name).read_bytes()
    assert TokenStore(whole).shard is None


def test_a_cut_that_the_reader_may_not_expect_is_said_once(tmp_path: Path, paragraph: str) -> None:
    corpus = tmp_path / "texts"
    corpus.mkdir()
    book = "The Project Gutenberg EBook of K, by A. Nobody\n\n*** START OF THE PROJECT GUTENBERG EBOOK K ***\n\n"
    (corpus / "own.txt").write_text(f"My own notes.\n\n{book}{paragraph}", "utf-8")
    (corpus / "plain.txt").write_text(paragraph * 2, "utf-8")
    messages: list[str] = []
    tokenize_corpus(corpus, tmp_path / "store", vocab_size=330, message=messages.append)
    [message] = [message for message in messages if "Project Gutenberg" in message]
    assert message.startswith("own.txt: 15 characters above Project Gutenberg's header are kept")


@pytest.mark.parametrize("foreign", ["store/notes.txt", ".store.partial/notes.txt", ".store.partial/plan.json/a"])
def test_what_is_no_part_of_a_store_is_refused_and_kept(corpus: Path, tmp_path: Path, foreign: str) -> None:
    tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    (tmp_path / foreign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / foreign).write_text("keep")
    for others in (".store.previous", ".store.staging"):
        (tmp_path / others).mkdir()
        (tmp_path / others / "manifest.json").write_text("keep")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(StorageError, match="which revlm did not write: move it away, or choose another folder"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / foreign).unlink()
    shutil.rmtree(tmp_path / ".store.partial", ignore_errors=True)
    tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    for others in (".store.previous", ".store.staging"):
        assert (tmp_path / others / "manifest.json").read_text() == "keep"


@pytest.mark.parametrize("name", ["tokens", "journal.jsonl", "plan.json", ".lock", "store", ""])
def test_a_link_in_place_of_an_unfinished_store_is_not_followed(corpus: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("keep")
    link = tmp_path / ".store.partial" / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "outside" if name in ("store", "") else tmp_path / "outside" / "file")
    with pytest.raises(StorageError, match=r"which revlm did not write|is a symbolic link"):
        tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes")
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["file"]
    assert (tmp_path / "outside" / "file").read_text() == "keep"


def test_names_that_are_not_utf8_are_names_all_the_same(tmp_path: Path) -> None:
    corpus = tmp_path / os.fsdecode(b"texts \xff")
    corpus.mkdir()
    (corpus / os.fsdecode(b"one \xfe.txt")).write_text("It was calm.\n")
    store = tmp_path / os.fsdecode(b"store \xff")
    for _ in range(2):
        assert tokenize_corpus(corpus, store, tokenizer="bytes").documents == 1
    merged = merge_stores([store], tmp_path / os.fsdecode(b"merged \xff"))
    assert TokenStore(merged.output_dir).tokenizer.decode(TokenStore(store).texts[0].parts[0]) == "It was calm.\n"
