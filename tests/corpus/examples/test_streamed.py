"""Texts that are tokenized while they are learned from: each token once an epoch, in order, from any place on."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from revlm.corpus import Corpus, Example, Loader, StreamedCorpus, open_corpus, tokenize_corpus
from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.reading.events import Dropped, Ended, Event, Piece, ReadPosition
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.reading.sources import Source
from revlm.corpus.store.token_store import TokenStore
from revlm.corpus.tokenizing import encoding, tokenizer
from revlm.corpus.tokenizing.tokenizer import ByteTokenizer, TokenIds
from revlm.errors import DataError, StorageError, UsageError
from revlm.recipe import Data, Stream
from tests.corpus.examples.resuming import key, require_resumable

BEGIN = 256


class Spy(ByteTokenizer):
    """Remembers what it encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = ""

    def encode(self, text: str) -> TokenIds:
        self.encoded += text
        return super().encode(text)


@dataclass
class Texts:
    """A source of texts, some of which break off at their end; `pulled` counts the pieces that were read of it."""

    texts: list[str]
    broken: set[int] = field(default_factory=set)
    piece: int = 3
    pulled: int = 0

    def events(self, after: ReadPosition) -> Iterator[Event]:
        for number, text in enumerate(self.texts[after.texts :], after.texts):
            title, position = f"text {number}", ReadPosition(0, number + 1)
            for start in range(0, len(text), self.piece):
                self.pulled += 1
                yield Piece(text[start : start + self.piece], title, 1)
            if number in self.broken:
                yield Dropped(position, Skipped(title, "it breaks off"), 1)
            else:
                yield Ended(position, title, title, Cleaning(), 1)

    @property
    def source(self) -> Source:
        return Source("invented texts", json.dumps([self.texts, sorted(self.broken)]), None, (), self.events)


@dataclass
class Case:
    texts: Texts
    seq_len: int
    packing: str
    seed: int = 0
    validation: float = 0.0
    block: int = 4

    def corpus(self, **changes: Any) -> StreamedCorpus:
        options = {"seq_len": self.seq_len, "packing": self.packing, "seed": self.seed, "validation": self.validation}
        return StreamedCorpus(self.texts.source, changes.pop("tokenizer", ByteTokenizer()), **(options | changes))

    def small_blocks(self) -> Any:
        """Blocks of a few characters, so that a text has many."""
        stack = ExitStack()
        stack.enter_context(patch.object(encoding, "CHUNK_CHARACTERS", self.block))
        stack.enter_context(patch.object(tokenizer, "_PART_CHARACTERS", 3))
        stack.enter_context(patch.object(tokenizer, "LONGEST_PART_CHARACTERS", 5))
        return stack

    def held_out(self) -> set[int]:
        return {int(title.split()[1]) for title, _ in self.corpus().documents(held_out=True)}


@st.composite
def cases(draw: st.DrawFn, validations: tuple[float, ...] = (0.0, 0.3)) -> Case:
    letters = st.text("abcdefg \n", min_size=1)
    texts = draw(st.lists(st.one_of(letters.map(lambda text: text[:9]), letters), min_size=1, max_size=7))
    return Case(
        Texts(texts, draw(st.sets(st.integers(0, len(texts) - 1), max_size=2)), draw(st.integers(1, 9))),
        seq_len=draw(st.one_of(st.integers(2, 8), st.integers(2, 60))),
        packing=draw(st.sampled_from(["whole", "fixed"])),
        seed=draw(st.integers(0, 99)),
        validation=draw(st.sampled_from(validations)),
        block=draw(st.integers(1, 12)),
    )


def pieces(example: Example) -> list[tuple[str, list[int], list[int]]]:
    """Title, inputs and targets of each document in an example: runs of 0, 1, 2, ... without a gap."""
    assert len(example.inputs) == len(example.targets) == len(example.document_ids) == len(example) > 0
    starts = np.flatnonzero(np.diff(example.document_ids, prepend=-1)).tolist()
    assert example.document_ids[starts].tolist() == list(range(len(example.titles)))
    assert example.target_bytes == len(example)
    return [
        (title, example.inputs[start:stop].tolist(), example.targets[start:stop].tolist())
        for title, start, stop in zip(example.titles, starts, [*starts[1:], len(example)], strict=True)
    ]


def expected_examples(case: Case, numbers: list[int], packing: str) -> Iterator[list[tuple[int, int, int]]]:
    """Which tokens of which text form each example, by a plain walk over the lengths; `fixed` never ends."""
    lengths = {number: len(case.texts.texts[number].encode()) for number in numbers}
    example: list[tuple[int, int, int]] = []
    room = case.seq_len
    while True:
        for number in numbers:
            start = 0
            while (rest := lengths[number] - start) and (rest > case.seq_len or number not in case.texts.broken):
                if packing == "whole" and example and rest > room:
                    yield example
                    example, room = [], case.seq_len
                taken = min(rest, room)
                example.append((number, start, start + taken))
                start, room = start + taken, room - taken
                if not room:
                    yield example
                    example, room = [], case.seq_len
        if packing == "whole":
            if example:
                yield example
            return


def learnable(case: Case, numbers: list[int]) -> bool:
    return next(expected_examples(case, numbers, "whole"), None) is not None


def assert_are(examples: Iterator[Example], expected: Iterator[list[tuple[int, int, int]]], case: Case) -> None:
    """And each input is the token before its target, the begin token before a document."""
    for wanted, example in zip(expected, examples, strict=True):
        found = pieces(example)
        assert [title for title, _, _ in found] == [f"text {number}" for number, _, _ in wanted]
        for (number, start, stop), (_, inputs, targets) in zip(wanted, found, strict=True):
            tokens = list(case.texts.texts[number].encode())
            assert targets == tokens[start:stop]
            assert inputs == [tokens[start - 1] if start else BEGIN, *targets[:-1]]


@settings(max_examples=200)
@given(case=cases())
def test_every_token_is_a_target_once_an_epoch_in_the_corpus_order(case: Case) -> None:
    with case.small_blocks():
        held_out = case.held_out()
        numbers = [number for number in range(len(case.texts.texts)) if number not in held_out]
        corpus = case.corpus(errors="skip")
        assert_are(corpus.validation(), expected_examples(case, sorted(held_out), "whole"), case)
        if not learnable(case, numbers):
            with pytest.raises(DataError, match="no text is left to train on"):
                next(corpus.training())
            return
        if case.packing == "fixed":
            first = islice(expected_examples(case, numbers, "fixed"), 12)
            assert_are(islice(corpus.training(), 12), first, case)
            assert corpus.longest_example == case.seq_len
            return
        epoch = list(expected_examples(case, numbers, "whole"))
        examples = list(islice(corpus.training(), 2 * len(epoch)))
        assert [example.epoch for example in examples] == [1] * len(epoch) + [2] * len(epoch)
        assert_are(iter(examples), iter(epoch + epoch), case)


@settings(max_examples=100)
@given(case=cases())
def test_documents_are_those_trained_on_and_those_held_out(case: Case) -> None:
    with case.small_blocks():
        corpus = case.corpus(errors="skip")
        found: dict[bool, dict[int, str]] = {}
        for held_out in (True, False):
            found[held_out] = {}
            for title, parts in corpus.documents(held_out=held_out):
                text = b""
                for start, example in parts:
                    ((of, inputs, targets),) = pieces(example)
                    assert (of, start) == (title, len(text))
                    assert inputs[0] == (text[-1] if text else BEGIN)
                    text += bytes(targets)
                found[held_out][int(title.split()[1])] = text.decode()
    assert not found[True].keys() & found[False].keys()
    both = found[True] | found[False]
    usable = {n: text for n, text in enumerate(case.texts.texts) if n not in case.texts.broken}
    assert {number: text for number, text in both.items() if number in usable} == usable
    for number in both.keys() - usable.keys():
        assert case.texts.texts[number].startswith(both[number])
        assert len(both[number]) % case.seq_len == 0


@settings(max_examples=30)
@given(case=cases(), workers=st.permutations([0, 1, 3]))
def test_every_place_resumes_with_identical_examples(case: Case, workers: list[int]) -> None:
    length = 14
    with case.small_blocks():
        opened = partial(case.corpus, errors="skip")
        plain = opened().training()
        expected, states = [], [plain.state()]
        try:
            for example in islice(plain, length):
                expected.append(key(example))
                states.append(plain.state())
        except DataError:
            assert not expected
            return
        require_resumable(lambda state: opened().training(state), expected, states, workers)
        assert len(json.dumps(states[-1])) < 200


@pytest.mark.parametrize("packing", ["whole", "fixed"])
def test_going_on_tokenizes_no_document_before_the_place(packing: str) -> None:
    case = Case(Texts(["a" * 50, "b" * 70, "c" * 20, "d" * 90]), 16, packing)
    stream = case.corpus().training()
    trained = [example.titles for example in islice(stream, 9)]
    assert trained[-1] == (("text 1",) if packing == "whole" else ("text 2", "text 3"))
    spy = Spy()
    next(case.corpus(tokenizer=spy).training(stream.state()))
    assert set(spy.encoded) == {"c" if packing == "whole" else "d"}


@pytest.mark.parametrize("packing", ["whole", "fixed"])
def test_a_document_that_is_used_up_is_before_the_place(packing: str) -> None:
    stream = Case(Texts(["a" * 32, "b" * 20]), 16, packing).corpus().training()
    for place, tokens in (([0, 0], 16), ([0, 1], 0), ([0, 1], 16)):
        next(stream)
        assert (stream.state()["place"], stream.state()["tokens"]) == (place, tokens)


def test_only_what_is_wanted_is_tokenized() -> None:
    case = Case(Texts([chr(97 + number) * 9 for number in range(20)]), 16, "whole", validation=0.4)
    held_out = {chr(97 + number) for number in case.held_out()}
    assert 2 < len(held_out) < 15
    spies = Spy(), Spy()
    list(case.corpus(tokenizer=spies[0]).validation())
    list(islice(case.corpus(tokenizer=spies[1]).training(), 30))
    assert set(spies[0].encoded) == held_out
    assert set(spies[1].encoded) == {chr(97 + number) for number in range(20)} - held_out


@given(seed=st.integers(0, 10**6))
def test_the_share_held_out_is_about_that_of_the_documents(seed: int) -> None:
    case = Case(Texts(["x"] * 400), 16, "whole", seed, 0.25)
    assert 50 < len(case.held_out()) < 150  # five standard deviations
    assert case.held_out() == case.held_out()


@pytest.mark.parametrize("packing", ["whole", "fixed"])
def test_no_more_is_read_ahead_than_the_next_example_may_need(packing: str) -> None:
    """A text longer than memory, of pieces that are only made when they are read."""
    long = Texts(["word " * 400_000, "end"], piece=1000)
    case = Case(long, 1000, packing, block=2000)
    with patch.object(encoding, "CHUNK_CHARACTERS", 2000), patch.object(tokenizer, "_PART_CHARACTERS", 1000):
        stream = case.corpus().training()
        for number in range(1, 40):
            next(stream)
            assert long.pulled <= number + 8


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_text_that_breaks_off_is_an_error_in_its_place_and_the_place_stays(workers: int) -> None:
    def events(after: ReadPosition) -> Iterator[Event]:
        for event in Texts(["a" * 30, "b" * 30, "c" * 30]).events(after):
            if isinstance(event, Piece) and event.title == "text 2":
                raise DataError("c.txt breaks off")
            yield event

    source = Source("texts", "one", None, (), events)
    corpus = StreamedCorpus(source, ByteTokenizer(), seq_len=32, packing="whole", seed=0, validation=0.0)
    with Loader(corpus.training(), workers) as examples:
        assert next(examples).titles == ("text 0",)
        place = examples.state()
        for _ in range(2):
            with pytest.raises(DataError, match=r"c\.txt breaks off"):
                next(examples)
            assert examples.state() == place
    stream = corpus.training()
    next(stream)
    for _ in range(2):  # a stream reads again, and does not take the error for the end
        with pytest.raises(DataError, match=r"c\.txt breaks off"):
            next(stream)
        assert stream.state() == place


def test_what_is_left_out_is_said_in_the_first_epoch() -> None:
    said: list[Skipped] = []
    case = Case(Texts(["a" * 5, "b" * 5, "c" * 50, "d" * 5], {1, 2}), 16, "whole")
    examples = list(islice(case.corpus(errors="skip", on_skip=said.append).training(), 20))
    assert [example.titles for example in examples[:5]] == [
        ("text 0",), ("text 2",), ("text 2",), ("text 2",), ("text 3",)
    ]  # fmt: skip
    assert said == [Skipped(f"text {number}", "it breaks off") for number in (1, 2)]


class Forgetful(ByteTokenizer):
    """Loses every q."""

    def encode(self, text: str) -> TokenIds:
        return super().encode(text.replace("q", ""))


def test_a_text_that_the_tokenizer_does_not_give_back_is_refused_or_left_out() -> None:
    case = Case(Texts(["abc", "ab q", "de"]), 16, "whole")
    with pytest.raises(DataError, match=r"does not reproduce 'text 1': its text differs from byte offset 3 on"):
        next(case.corpus(tokenizer=Forgetful()).training())
    said: list[Skipped] = []
    corpus = case.corpus(tokenizer=Forgetful(), errors="skip", on_skip=said.append)
    assert next(corpus.training()).titles == ("text 0", "text 2")
    assert [each.path for each in said] == ["text 1"]
    assert "byte offset 3" in said[0].reason


@pytest.mark.parametrize("change", [{"packing": "fixed"}, {"seed": 4}, {"validation": 0.2}], ids=str)
def test_a_place_of_other_settings_is_refused(change: dict[str, Any]) -> None:
    case = Case(Texts(["a" * 50]), 16, "whole")
    with pytest.raises(StorageError, match="does not fit invented texts"):
        case.corpus().training(case.corpus(**change).training().state())
    other = Case(Texts(["a" * 51]), 16, "whole").corpus()
    assert other.fingerprint != case.corpus().fingerprint
    with pytest.raises(StorageError, match="does not fit"):
        case.corpus().training(other.training().state())


@pytest.mark.parametrize(
    "damage", [{"epoch": "1"}, {"place": [1]}, {"place": None}, {"texts": -1}, {"tokens": True}, {"tokens": 1000}]
)
def test_a_damaged_place_is_refused(damage: dict[str, Any]) -> None:
    corpus = Case(Texts(["a" * 50]), 16, "whole").corpus()
    with pytest.raises(StorageError, match=r"damaged|past the end of 'text 0'"):
        next(corpus.training(corpus.training().state() | damage))


def streamed(corpus: Path | str, tokenizer: Path | str = "bytes", *, message: Any = None, **stream: Any) -> Corpus:
    values = {
        "stream": {"corpus": str(corpus), **stream},
        "tokenizer": str(tokenizer),
        "seq_len": 64,
        "validation": 0.0,
    }
    return open_corpus(Data.model_validate(values), 0, *([message] if message else []))


def texts_of(corpus: Corpus) -> dict[str, list[int]]:
    return {
        title: [token for _, example in parts for token in example.targets.tolist()]
        for title, parts in corpus.documents(held_out=False)
    }


def stored(store: Path) -> dict[str, list[int]]:
    opened = TokenStore(store)
    return {title: np.concatenate(text.parts).tolist() for title, text in zip(opened.titles, opened.texts, strict=True)}


@pytest.fixture
def books(tmp_path: Path, paragraph: str) -> Path:
    folder = tmp_path / "books"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text(paragraph * 40)
    rows = [{"text": f"{number} {paragraph}", "title": f"row {number}"} for number in range(4)]
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "more" / "c.md").write_bytes(b"\xef\xbb\xbf" + paragraph.replace("\n", "\r\n").encode())
    return folder


def test_a_stream_has_the_tokens_of_the_store(books: Path, tmp_path: Path) -> None:
    tokenize_corpus(books, tmp_path / "store", vocab_size=330)
    corpus = streamed(books, tmp_path / "store")
    assert texts_of(corpus) == stored(tmp_path / "store")
    assert len(texts_of(corpus)) == 6
    assert "not shuffled" in corpus.notices[0]
    again = [key(example) for example in islice(corpus.training(), 30)]
    assert again == [key(example) for example in islice(streamed(books, tmp_path / "store").training(), 30)]


def test_a_dataset_of_rows_is_streamed(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    for number in range(2):
        rows = [{"text": "unused", "body": f"{number} {row} a text"} for row in range(5)]
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"test-{number}.parquet")
    texts = texts_of(streamed(f"hf:{folder}", split="test", text_column="body"))
    assert [bytes(text).decode() for text in texts.values()] == [
        f"{n} {row} a text" for n in (0, 1) for row in range(5)
    ]
    other = streamed(f"hf:{folder}", split="test")
    assert other.fingerprint != streamed(f"hf:{folder}", split="test", text_column="body").fingerprint


def test_errors_name_the_keys_of_a_recipe(books: Path) -> None:
    (books / "bad.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"bad\.txt is not UTF-8.*data\.stream\.errors=skip") as refused:
        texts_of(streamed(books))
    assert "--" not in str(refused.value)
    said: list[str] = []
    corpus = streamed(books, errors="skip", message=said.append)
    assert len(list(islice(corpus.training(), 200))) == 200
    assert [text.split(":")[0] for text in said] == ["skipped bad.txt"]
    with pytest.raises(DataError, match=r"data\.stream\.text_column"):
        texts_of(streamed(books / "b.jsonl", text_column="body"))
    with pytest.raises(DataError, match="holds no tokenizer"):
        streamed(books, books)


def test_what_is_passed_over_is_noticed(books: Path) -> None:
    (books / "picture.png").touch()
    assert any("first picture.png: not a text file" in notice for notice in streamed(books).notices)


def test_the_limits_of_a_stream_are_keys_of_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a text that is too long"}\n')
    stream = Stream(corpus=str(tmp_path), max_line_bytes=9)
    corpus = open_corpus(Data(stream=stream, tokenizer=Path("bytes"), seq_len=8, validation=0.0), 0)
    with pytest.raises(DataError, match=r"longer than 9 bytes; pass a higher data\.stream\.max_line_bytes"):
        next(iter(corpus.training()))
    with pytest.raises(UsageError, match=r"data\.stream cannot be standard input"):
        open_corpus(Data(stream=Stream(corpus="-"), tokenizer=Path("bytes")), 0)
