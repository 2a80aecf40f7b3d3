"""What lies between a kill and going on is verified: where it changed it is made again, and the store is the same."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.corpus import tokenize_corpus
from revlm.corpus.store import spool
from revlm.errors import Interrupted

Flip = Callable[[bytes], bytes]


def flip_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


@pytest.fixture
def corpus(tmp_path: Path, paragraph: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(spool, "COMMIT_BYTES", 1)
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"{number} {paragraph * (2 + number)}", "utf-8")
    (folder / "empty.txt").touch()
    return folder


def interrupted(corpus: Path, store: Path, at: str = "3") -> Path:
    """Leaves unfinished work of a store, stopped in the document of that title, and returns its folder."""
    titles: set[str] = set()
    with pytest.raises(Interrupted):
        tokenize_corpus(
            corpus,
            store,
            vocab_size=330,
            workers=1,
            progress=lambda done, total, title: titles.add(title),
            stop=lambda: "SIGTERM" if at in titles else None,
        )
    return store.with_name(f".{store.name}.partial")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


DAMAGES: dict[str, tuple[str, Flip, str]] = {
    "tokens": ("tokens", flip_middle, "a part of the unfinished work changed on the disk"),
    "tokens cut": (
        "tokens",
        lambda content: content[: len(content) // 2],
        "a part of the unfinished work changed on the disk",
    ),
    "journal": ("journal.jsonl", flip_middle, "a part of the unfinished work changed on the disk"),
    "journal of other words": (
        "journal.jsonl",
        lambda content: content.replace(b'"title":"1"', b'"title":"2"'),
        "a part of the unfinished work changed on the disk",
    ),
    "journal's line lost": (
        "journal.jsonl",
        lambda content: b"".join(content.splitlines(keepends=True)[1:]),
        "a part of the unfinished work changed on the disk",
    ),
    "nested journal": ("journal.jsonl", lambda content: b"[" * 100_000 + b"\n", "a part of the unfinished work"),
    "tokenizer": ("tokenizer/tokenizer.model", flip_middle, "the tokenizer of the unfinished work changed on the disk"),
    "tokenizer's digest": ("tokenizer/fingerprint.json", flip_middle, "the tokenizer of the unfinished work changed"),
    "plan": ("plan.json", lambda content: content.replace(b"330", b"331"), "the plan of the unfinished work changed"),
    "nested plan": ("plan.json", lambda content: b"[" * 100_000, "the plan of the unfinished work changed"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_changed_between_a_stop_and_going_on_is_made_again(corpus: Path, tmp_path: Path, name: str) -> None:
    tokenize_corpus(corpus, tmp_path / "undisturbed", vocab_size=330)
    work = interrupted(corpus, tmp_path / "store")
    assert len((work / "journal.jsonl").read_bytes().splitlines()) >= 2
    file, damage, words = DAMAGES[name]
    whole = (work / file).read_bytes()
    (work / file).write_bytes(damage(whole))
    assert (work / file).read_bytes() != whole
    said: list[str] = []
    tokenize_corpus(corpus, tmp_path / "store", vocab_size=330, message=said.append)
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")
    assert any(words in sentence for sentence in said), said
    assert not list(tmp_path.glob(".*"))


def test_whole_work_and_a_torn_line_go_on_without_a_word(corpus: Path, tmp_path: Path) -> None:
    tokenize_corpus(corpus, tmp_path / "undisturbed", vocab_size=330)
    work = interrupted(corpus, tmp_path / "store")
    with (work / "journal.jsonl").open("ab") as journal:
        journal.write((work / "journal.jsonl").read_bytes().splitlines()[0][:40])
    said: list[str] = []
    tokenize_corpus(corpus, tmp_path / "store", vocab_size=330, message=said.append)
    assert [sentence.split(" after ")[0] for sentence in said] == ["resuming"]
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")


@pytest.mark.slow
def test_every_bit_of_the_unfinished_work_may_flip(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the journal and the plan many bits, of the tokens some: the store is the same, and it is said."""
    tokenize_corpus(corpus, tmp_path / "undisturbed", tokenizer="bytes")
    expected = content(tmp_path / "undisturbed")
    store = tmp_path / "store"

    def stop_early() -> dict[str, bytes]:
        asked = iter([None] * 6)
        with pytest.raises(Interrupted):
            tokenize_corpus(corpus, store, tokenizer="bytes", workers=1, stop=lambda: next(asked, "SIGTERM"))
        return content(tmp_path / ".store.partial")

    files = stop_early()
    lines = [json.loads(line.rpartition(b" ")[0]) for line in files["journal.jsonl"].splitlines()]
    # Behind the tokens that the journal names lie those of a text that was not finished, which are not used.
    checked = {"tokens": 2 * sum(line["result"]["tokens"] for line in lines if "tokens" in line["result"])}
    assert 0 < checked["tokens"] < len(files["tokens"])
    for name, step in (("plan.json", 1), ("journal.jsonl", 1), ("tokens", 47)):
        said = flips = 0
        for bit in range(0, 8 * checked.get(name, len(files[name])), step * 13):
            partial = tmp_path / ".store.partial"
            partial.mkdir(exist_ok=True)
            for each, whole in files.items():
                (partial / each).write_bytes(whole)
            flipped = bytearray(files[name])
            flipped[bit // 8] ^= 1 << bit % 8
            (partial / name).write_bytes(flipped)
            messages: list[str] = []
            tokenize_corpus(corpus, store, tokenizer="bytes", workers=1, message=messages.append)
            assert content(store) == expected, (name, bit)
            said += any("changed on the disk" in message for message in messages)
            flips += 1
        with capsys.disabled():
            print(json.dumps({"file": name, "flips": flips, "said": said}))
        # The end of the last line is a torn line's, which a kill leaves.
        assert said >= flips - (name == "journal.jsonl")
