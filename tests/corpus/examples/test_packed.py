import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revlm.corpus import Example, PackedCorpus, tokenize_corpus
from revlm.corpus.store.token_store import TokenStore
from revlm.errors import DataError, StorageError, UsageError

MakeStore = Callable[..., Path]
LENGTHS = (23, 5, 61, 8, 1, 17, 30, 2)
BEGIN = 256


@pytest.fixture
def store(make_store: MakeStore) -> Path:
    """Texts of different first letters, one long enough for several rows."""
    return make_store(*LENGTHS, row_tokens=20)


def open_corpus(store: Path, **changes: object) -> PackedCorpus:
    options = {"seq_len": 16, "packing": "whole", "seed": 3, "validation": 0.1}
    return PackedCorpus(store, **(options | changes))  # type: ignore[arg-type]


def texts_of(store: Path) -> dict[str, list[int]]:
    """Title -> tokens, straight from the store."""
    opened = TokenStore(store)
    return {title: np.concatenate(text.parts).tolist() for title, text in zip(opened.titles, opened.texts, strict=True)}


def segments(example: Example) -> list[tuple[str, list[int], list[int]]]:
    """Title, inputs and targets of each document in an example."""
    assert len(example.inputs) == len(example.targets) == len(example.document_ids) == len(example)
    changes = np.flatnonzero(np.diff(example.document_ids, prepend=-1))
    assert example.document_ids[changes].tolist() == list(range(len(example.titles)))
    ends = [*changes[1:].tolist(), len(example)]
    return [
        (title, example.inputs[start:end].tolist(), example.targets[start:end].tolist())
        for title, start, end in zip(example.titles, changes.tolist(), ends, strict=True)
    ]


def equal(one: Example, other: Example) -> bool:
    arrays = ("inputs", "targets", "document_ids")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and (
        (one.titles, one.epoch, one.target_bytes) == (other.titles, other.epoch, other.target_bytes)
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seq_len=st.integers(1, 90),
    packing=st.sampled_from(["whole", "interleaved", "fixed"]),
    seed=st.integers(0, 5),
    validation=st.sampled_from([0.0, 0.02, 0.3, 0.9]),
)
def test_tokens_stored_are_targets_and_carried_and_held_out(
    store: Path, seq_len: int, packing: str, seed: int, validation: float
) -> None:
    """And they are the very tokens: joined in order, targets give every training document back."""
    corpus = open_corpus(store, seq_len=seq_len, packing=packing, seed=seed, validation=validation)
    texts = texts_of(store)
    collected: dict[str, list[int]] = {}
    targets = 0
    for example in corpus.training():
        if targets + len(example) > corpus.n_training_tokens:
            break
        assert packing != "fixed" or len(example) == seq_len
        targets += len(example)
        for title, _, segment in segments(example):
            collected.setdefault(title, []).extend(segment)
    else:
        pytest.fail("the training stream ended")
    held_out = list(corpus.validation())
    held_out_tokens = sum(map(len, held_out))
    assert sum(map(len, texts.values())) == targets + corpus.carried_tokens(1) + held_out_tokens
    assert held_out_tokens == corpus.n_validation_tokens
    assert all(texts[title][: len(tokens)] == tokens for title, tokens in collected.items())
    assert corpus.carried_tokens(1) or collected == {title: texts[title] for title in corpus.training_documents}
    validated: dict[str, list[int]] = {}
    for example in held_out:
        assert len(example) <= seq_len
        for title, _, segment in segments(example):
            validated.setdefault(title, []).extend(segment)
    assert validated == {title: texts[title] for title in corpus.validation_documents}
    assert not set(corpus.training_documents) & set(corpus.validation_documents)


@pytest.mark.parametrize("packing", ["whole", "interleaved", "fixed"])
@pytest.mark.parametrize("seq_len", [7, 16, 200])
def test_each_input_is_the_token_before_its_target(store: Path, packing: str, seq_len: int) -> None:
    """A document begins with the begin token; one that continues begins with the last target of before."""
    corpus = open_corpus(store, seq_len=seq_len, packing=packing, validation=0.0)
    texts = texts_of(store)
    done = dict.fromkeys(texts, 0)
    for example in islice(corpus.training(), 60):
        for title, inputs, targets in segments(example):
            text, place = texts[title], done[title] % len(texts[title])
            assert targets == text[place : place + len(targets)]
            assert inputs[0] == (text[place - 1] if place else BEGIN)
            assert inputs[1:] == targets[:-1]
            done[title] += len(targets)


@pytest.mark.parametrize("packing", ["whole", "interleaved", "fixed"])
@pytest.mark.parametrize("seq_len", [7, 16, 400])
def test_every_place_resumes_with_identical_examples(store: Path, packing: str, seq_len: int) -> None:
    stream = open_corpus(store, packing=packing, seq_len=seq_len).training()
    states, examples = [stream.state()], []
    for example in islice(stream, 70):
        examples.append(example)
        states.append(stream.state())
    assert examples[-1].epoch > 2
    for place, state in enumerate(states):
        resumed = open_corpus(store, packing=packing, seq_len=seq_len).training(json.loads(json.dumps(state)))
        assert resumed.state() == state
        assert all(map(equal, resumed, examples[place:])), place
    assert len(json.dumps(states[-1])) < 200


@pytest.mark.parametrize("packing", ["whole", "interleaved", "fixed"])
def test_epochs_have_different_orders_and_seeds_too(store: Path, packing: str) -> None:
    def titles(seed: int) -> list[str]:
        stream = open_corpus(store, packing=packing, seed=seed, validation=0.0).training()
        return [title for example in islice(stream, 40) for title in example.titles]

    assert titles(1) == titles(1)
    assert titles(1) != titles(2)
    orders = {}
    for example in islice(open_corpus(store, packing=packing).training(), 40):
        orders.setdefault(example.epoch, []).extend(example.titles)
    assert sorted(orders)[:3] == [1, 2, 3]
    assert orders[1] != orders[2]


def test_target_bytes_are_the_utf8_bytes_of_the_targets(tmp_path: Path, paragraph: str) -> None:
    (tmp_path / "a.txt").write_text(paragraph * 4, "utf-8")
    tokenize_corpus(tmp_path / "a.txt", tmp_path / "store", vocab_size=330)
    corpus = open_corpus(tmp_path / "store", seq_len=50)
    examples = [*islice(corpus.training(), 5), *corpus.validation()]
    for example in examples:
        assert example.target_bytes == len(corpus.tokenizer.decode_bytes(example.targets))
    assert {array.dtype for array in (examples[0].inputs, examples[0].targets, examples[0].document_ids)} == {
        np.dtype(np.int32)
    }


@pytest.mark.parametrize("packing", ["whole", "interleaved", "fixed"])
def test_one_document_holds_out_its_tail_and_says_so(make_store: MakeStore, packing: str) -> None:
    store = make_store(200, row_tokens=64)
    corpus = open_corpus(store, packing=packing, validation=0.25, seq_len=20)
    (text,) = texts_of(store).values()
    held_out = [segment for example in corpus.validation() for segment in segments(example)]
    assert [token for _, _, targets in held_out for token in targets] == text[150:]
    assert held_out[0][1][0] == text[149]
    assert corpus.notices == ("the corpus is one document: its last 50 tokens (25.0%) are held out for validation",)
    trained = [example.targets for example in islice(corpus.training(), 7 if packing == "fixed" else 8)]
    assert np.concatenate(trained).tolist() == text[: 140 if packing == "fixed" else 150]


def test_a_whole_novel_can_be_one_example(make_store: MakeStore) -> None:
    corpus = open_corpus(make_store(200), validation=0.0, seq_len=1000)
    example = next(corpus.training())
    assert (len(example), example.epoch, corpus.notices) == (200, 1, ())
    assert list(corpus.validation()) == []


def test_a_held_out_document_beyond_its_share_is_said(make_store: MakeStore) -> None:
    corpus = open_corpus(make_store(60, 40), validation=0.05)
    assert corpus.validation_documents == ("text 001",)
    assert "'text 001', 40 tokens (40.0%), is held out" in corpus.notices[0]


@pytest.mark.parametrize("change", [{"packing": "fixed"}, {"seed": 4}, {"validation": 0.2}], ids=str)
def test_a_place_of_other_settings_is_refused(store: Path, change: dict[str, object]) -> None:
    state = open_corpus(store, **change).training().state()
    with pytest.raises(StorageError, match="does not fit"):
        open_corpus(store).training(state)


@pytest.mark.parametrize("damage", [{"epoch": 0}, {"epoch": "1"}, {"next_example": -1}, {"next_example": None}])
def test_a_damaged_place_is_refused(store: Path, damage: dict[str, object]) -> None:
    corpus = open_corpus(store)
    with pytest.raises(StorageError, match="damaged"):
        corpus.training(corpus.training().state() | damage)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seq_len": 0}, "data.seq_len is 0"),
        ({"packing": "tight"}, "must be one of whole, interleaved, fixed"),
        ({"validation": 1.0}, "data.validation is 1.0"),
    ],
)
def test_wrong_settings_are_refused(store: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_corpus(store, **change)


def test_one_token_cannot_be_split(make_store: MakeStore) -> None:
    with pytest.raises(DataError, match="a single token"):
        open_corpus(make_store(1))


def test_a_store_that_is_missing_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `revlm tokenize CORPUS"):
        open_corpus(tmp_path / "nowhere")


@pytest.mark.parametrize("held_out", [True, False])
def test_documents_come_whole_and_in_pieces_that_say_where_they_begin(store: Path, held_out: bool) -> None:
    corpus, texts = open_corpus(store, validation=0.3), texts_of(store)
    titles = corpus.validation_documents if held_out else corpus.training_documents
    documents = [(title, list(pieces)) for title, pieces in corpus.documents(held_out=held_out)]
    assert [title for title, _ in documents] == list(titles)
    assert any(len(pieces) > 1 for _, pieces in documents)
    for title, pieces in documents:
        assert [start for start, _ in pieces] == list(range(0, len(texts[title]), 16))
        assert [token for _, example in pieces for token in example.targets.tolist()] == texts[title]
        assert all(example.titles == (title,) for _, example in pieces)


def test_no_example_is_longer_than_the_bound(store: Path) -> None:
    assert open_corpus(store, seq_len=16).longest_example == 16
    whole = open_corpus(store, seq_len=1000)
    assert whole.longest_example == whole.n_training_tokens == len(next(whole.training()))
    assert open_corpus(store, seq_len=1000, packing="fixed").longest_example == 1000
