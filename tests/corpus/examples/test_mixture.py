"""Random corpora of one to three stores: what was stored is what is trained on, in the shares that were asked for."""

import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revlm.corpus import Corpus, Example, Loader, PackedCorpus, open_corpus, tokenize_corpus
from revlm.corpus.examples.mixture import Mixture, Shares
from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.store.token_store import StoredDocument, TokenStore
from revlm.corpus.store.writer import StoreWriter
from revlm.corpus.tokenizing.tokenizer import ByteTokenizer
from revlm.errors import DataError, StorageError
from revlm.recipe import Data
from revlm.storage import digest_of_json
from tests.corpus.examples.resuming import key, require_resumable

BEGIN = 256
Texts = dict[str, list[int]]


def write_store(folder: Path, texts: Texts, row_tokens: int) -> None:
    """A store of tokens as they are, several rows for a text longer than `row_tokens`."""
    folder.mkdir()
    with StoreWriter(folder, ByteTokenizer()) as writer:
        for title, text in texts.items():
            tokens = np.array(text, np.uint16)
            parts = [tokens[start : start + row_tokens] for start in range(0, len(tokens), row_tokens)]
            digest = hashlib.sha256(tokens.tobytes()).hexdigest()
            writer.add(StoredDocument(title, title, len(text), len(text), digest, len(parts), Cleaning()), parts)
        writer.finish([], digest_of_json(str(folder)))


@dataclass(frozen=True)
class Case:
    """The documents of each store in tokens, and how they become examples."""

    lengths: list[list[int]]
    row_tokens: int
    weights: list[float] | None
    seq_len: int
    packing: str
    seed: int
    validation: float

    def texts(self, store: int) -> Texts:
        letters = random.Random(f"{self.seed} {store}")
        lengths = self.lengths[store]
        return {f"{store} {n}": [letters.randrange(256) for _ in range(length)] for n, length in enumerate(lengths)}

    def data(self, folder: Path) -> Data:
        paths = [str(folder / str(store)) for store in range(len(self.lengths))]
        weighted = [{"path": path, "weight": weight} for path, weight in zip(paths, self.weights or [], strict=False)]
        values = {"path": weighted or paths, "seq_len": self.seq_len, "packing": self.packing}
        return Data.model_validate(values | {"validation": self.validation})

    @contextmanager
    def opened(self) -> Iterator[Callable[[], Corpus]]:
        """A function that opens the corpus, each time anew."""
        with tempfile.TemporaryDirectory() as name:
            for store in range(len(self.lengths)):
                write_store(Path(name) / str(store), self.texts(store), self.row_tokens)
            yield lambda: open_corpus(self.data(Path(name)), self.seed)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    length = st.one_of(st.just(1), st.integers(1, 12), st.integers(1, 70))
    lengths = draw(st.lists(st.lists(length, min_size=1, max_size=5), min_size=1, max_size=3))
    weight = st.one_of(st.integers(1, 4), st.floats(0.5, 3))
    can_hold_out = all(sum(each) > 1 for each in lengths)
    return Case(
        lengths=lengths,
        row_tokens=draw(st.integers(3, 30)),
        weights=draw(st.none() | st.lists(weight, min_size=len(lengths), max_size=len(lengths))),
        seq_len=draw(st.one_of(st.integers(2, 8), st.integers(2, 80))),
        packing=draw(st.sampled_from(["whole", "interleaved", "fixed"])),
        seed=draw(st.integers(0, 99)),
        validation=draw(st.sampled_from([0.0, 0.05, 0.4])) if can_hold_out else 0.0,
    )


def stores_of(corpus: Corpus) -> tuple[PackedCorpus, ...]:
    if isinstance(corpus, Mixture):
        return corpus.stores
    assert isinstance(corpus, PackedCorpus)
    return (corpus,)


def segments(example: Example) -> list[tuple[str, list[int], list[int]]]:
    """Title, inputs and targets of each document in an example: runs of 0, 1, 2, ... without a gap."""
    assert len(example.inputs) == len(example.targets) == len(example.document_ids) == len(example) > 0
    starts = np.flatnonzero(np.diff(example.document_ids, prepend=-1)).tolist()
    assert example.document_ids[starts].tolist() == list(range(len(example.titles)))
    return [
        (title, example.inputs[start:stop].tolist(), example.targets[start:stop].tolist())
        for title, start, stop in zip(example.titles, starts, [*starts[1:], len(example)], strict=True)
    ]


def store_of(example: Example) -> int:
    """The store of an example, which all its documents share."""
    (store,) = {int(title.split()[0]) for title in example.titles}
    return store


class Reading:
    """Follows the documents of one store through its examples, pass after pass."""

    def __init__(self, store: PackedCorpus, texts: Texts) -> None:
        one = len(texts) == 1  # whose tail is held out
        self.texts = {
            title: texts[title][: store.n_training_tokens if one else None] for title in store.training_documents
        }
        self.read = dict.fromkeys(self.texts, 0)

    def passes(self, title: str) -> int:
        return self.read[title] // len(self.texts[title])

    def follow(self, example: Example) -> None:
        """Each document goes on where it was, and begins again only after all others were read as often."""
        for title, inputs, targets in segments(example):
            text, place, passes = self.texts[title], self.read[title] % len(self.texts[title]), self.passes(title)
            assert targets == text[place : place + len(targets)]
            assert inputs == [text[place - 1] if place else BEGIN, *targets[:-1]]
            assert passes <= min(map(self.passes, self.texts))
            self.read[title] += len(targets)


@settings(max_examples=60)
@given(case=cases(), workers=st.sampled_from([0, 1, 3]))
def test_every_text_token_is_a_target_once_an_epoch_of_its_store(case: Case, workers: int) -> None:
    with case.opened() as opened:
        corpus = opened()
        stores = stores_of(corpus)
        readings = [Reading(store, case.texts(number)) for number, store in enumerate(stores)]
        first_epoch, ended = [0] * len(stores), [False] * len(stores)
        with Loader(corpus.training(), workers) as examples:
            for count, example in enumerate(examples):
                assert count < 20_000, "a store is never read to the end of its first epoch"
                number = store_of(example)
                tokens = len(example)
                assert tokens == case.seq_len or (case.packing != "fixed" and tokens < case.seq_len)
                assert tokens <= corpus.longest_example
                assert example.epoch == 1 + min(map(readings[number].passes, readings[number].texts))
                ended[number] |= first_epoch[number] + tokens > stores[number].n_training_tokens
                first_epoch[number] += 0 if ended[number] else tokens
                readings[number].follow(example)
                if all(ended):
                    break
        held_out: Texts = {}
        for example in corpus.validation():
            assert example.epoch == 0
            assert store_of(example) < len(stores)
            for title, inputs, targets in segments(example):
                assert inputs[1:] == targets[:-1]
                held_out.setdefault(title, []).extend(targets)
        for number, (store, reading) in enumerate(zip(stores, readings, strict=True)):
            stored = case.texts(number)
            rest = {title: stored[title][len(reading.texts.get(title, [])) :] for title in stored}
            assert {title: text for title, text in rest.items() if text} == {
                title: text for title, text in held_out.items() if title in stored
            }
            assert bool(case.validation) == any(rest.values())
            n_held_out = sum(map(len, rest.values()))
            stored_tokens = sum(map(len, stored.values()))
            assert stored_tokens == first_epoch[number] + store.carried_tokens(1) + n_held_out


@settings(max_examples=60)
@given(case=cases())
def test_the_shares_of_the_targets_follow_the_weights(case: Case) -> None:
    """No store is ever ahead by more than its last example: of two, neither is off by more than one."""
    with case.opened() as opened:
        corpus = opened()
        stores = stores_of(corpus)
        weights = [Fraction(str(weight)) for weight in case.weights or [store.n_training_tokens for store in stores]]
        tokens, last = [0] * len(stores), [0] * len(stores)
        alone = [store.training() for store in stores]
        for example in islice(corpus.training(), 80):
            number = store_of(example)
            assert key(example) == key(next(alone[number]))
            last[number] = len(example)
            tokens[number] += len(example)
            ahead = [tokens[n] - weights[n] / sum(weights) * sum(tokens) for n in range(len(stores))]
            assert all(ahead[n] <= last[n] for n in range(len(stores)))
            if len(stores) == 2:
                assert max(map(abs, ahead)) <= max(last)


@settings(max_examples=20)
@given(case=cases(), workers=st.permutations([0, 1, 3]))
def test_every_place_resumes_with_identical_examples(case: Case, workers: list[int]) -> None:
    length = 18
    with case.opened() as opened:
        plain = opened().training()
        expected, states = [], [plain.state()]
        for example in islice(plain, length):
            expected.append(key(example))
            states.append(plain.state())
        require_resumable(lambda state: opened().training(state), expected, states, workers)
        assert len(json.dumps(states[-1])) < 700


def small(folder: Path, *lengths: int) -> Path:
    store = folder.name
    write_store(
        folder, {f"{store} {n}": [(n + place) % 256 for place in range(each)] for n, each in enumerate(lengths)}, 99
    )
    return folder


def mixture(*stores: Path, weights: list[float] | None = None, **changes: Any) -> Mixture:
    options = {"seq_len": 10, "packing": "whole", "seed": 0, "validation": 0.0} | changes
    return Mixture([PackedCorpus(store, **options) for store in stores], weights)


def test_whose_turn_it_is_by_hand(tmp_path: Path) -> None:
    stores = small(tmp_path / "0", 10, 10, 10), small(tmp_path / "1", 10, 10, 10)
    turns = [store_of(example) for example in islice(mixture(*stores, weights=[1, 3]).training(), 8)]
    assert turns == [1, 0, 1, 1, 0, 1, 1, 1]  # after four, the shares are the weights: a tie
    assert [store_of(example) for example in islice(mixture(*stores).training(), 4)] == [0, 1, 0, 1]


def test_without_weights_the_epochs_run_together(tmp_path: Path) -> None:
    corpus = mixture(small(tmp_path / "0", *[10] * 4), small(tmp_path / "1", *[10] * 20), packing="fixed")
    assert corpus.weights == [Fraction(1, 6), Fraction(5, 6)]
    for epoch in (1, 2, 3):
        examples = list(islice(corpus.training(), 24 * epoch))[-24:]
        assert {example.epoch for example in examples} == {epoch}


def test_weights_count_as_they_stand_to_each_other(tmp_path: Path) -> None:
    stores = small(tmp_path / "0", 30, 5), small(tmp_path / "1", 44)
    state = mixture(*stores, weights=[1, 3]).training().state()
    assert mixture(*stores, weights=[0.5, 1.5]).training(state).state() == state


def test_part_of_a_validation_has_of_every_store(tmp_path: Path) -> None:
    corpus = mixture(small(tmp_path / "0", *[10] * 10), small(tmp_path / "1", *[10] * 20), validation=0.5)
    assert corpus.n_validation_tokens == 150
    assert [store_of(example) for example in corpus.validation()] == [1, 0, 1] + [0, 1, 1] * 4
    assert corpus.validation_documents == tuple(title for title, _ in corpus.documents(held_out=True))
    assert corpus.training_documents == tuple(title for title, _ in corpus.documents(held_out=False))


def test_the_shares_and_what_each_store_has_to_say_are_said(tmp_path: Path) -> None:
    stores = small(tmp_path / "0", 40), small(tmp_path / "1", 10, 10)
    first, *others = mixture(*stores, weights=[1, 3], validation=0.1).notices
    assert first == f"the targets are a mixture: 25.0% {stores[0]}, 75.0% {stores[1]}"
    assert [notice.split(": ")[0] for notice in others] == list(map(str, stores))


@pytest.mark.parametrize("copied", [False, True])
def test_the_same_store_twice_is_refused(tmp_path: Path, copied: bool) -> None:
    store = other = small(tmp_path / "0", 30)
    if copied:
        other = shutil.copytree(store, tmp_path / "copy")
    with pytest.raises(DataError, match=f"the same tokens twice, {store} and {other}: name them once"):
        mixture(store, small(tmp_path / "1", 20), other)


def test_stores_of_different_tokenizers_are_refused_and_the_remedy_works(tmp_path: Path, paragraph: str) -> None:
    first, second = tmp_path / "0", tmp_path / "1"
    for number, folder in enumerate((first, second)):
        folder.with_suffix(".txt").write_text(paragraph * (4 + number), "utf-8")
        tokenize_corpus(folder.with_suffix(".txt"), folder, vocab_size=330 + number)
    with pytest.raises(
        DataError, match=rf"{first} and {second} .*`revlm tokenize CORPUS -o {second} --tokenizer {first}`"
    ):
        mixture(first, second)
    tokenize_corpus(second.with_suffix(".txt"), second, tokenizer=first)
    assert mixture(first, second).tokenizer.vocab_size == 330


@pytest.mark.parametrize("change", ["weights", "order", "stores", "seed", "kind"])
def test_a_place_of_another_mixture_is_refused(tmp_path: Path, change: str) -> None:
    first, second, third = small(tmp_path / "0", 30), small(tmp_path / "1", 20), small(tmp_path / "2", 9)
    others = {
        "weights": mixture(first, second, weights=[1, 2]),
        "order": mixture(second, first, weights=[1, 3]),
        "stores": mixture(first, third, weights=[1, 3]),
        "seed": mixture(first, second, weights=[1, 3], seed=1),
        "kind": mixture(first, second).stores[0],
    }
    corpus = mixture(first, second, weights=[1, 3])
    with pytest.raises(StorageError, match="does not fit"):
        corpus.training(others[change].training().state())
    assert (corpus.fingerprint == others[change].fingerprint) == (change in {"weights", "seed"})


@pytest.mark.parametrize(
    "damage", [{"targets": [1]}, {"targets": [1, -1]}, {"targets": None}, {"stores": []}, {"stores": [{}, 3]}], ids=str
)
def test_a_damaged_place_is_refused(tmp_path: Path, damage: dict[str, Any]) -> None:
    corpus = mixture(small(tmp_path / "0", 30), small(tmp_path / "1", 20))
    with pytest.raises(StorageError, match="damaged"):
        corpus.training(corpus.training().state() | damage)


def test_one_path_is_the_store_itself(tmp_path: Path) -> None:
    store = small(tmp_path / "0", 30, 12)
    alone = PackedCorpus(store, seq_len=10, packing="whole", seed=3, validation=0.1)
    for path in (store, [store]):
        corpus = open_corpus(Data(path=path, seq_len=10, validation=0.1), seed=3)  # type: ignore[arg-type]
        assert isinstance(corpus, PackedCorpus)
        assert corpus.fingerprint == alone.fingerprint == TokenStore(store).fingerprint
        assert corpus.training().state() == alone.training().state()


def test_turns_do_not_depend_on_rounding() -> None:
    """Weights are the decimals that were written: as the floats nearest to them, these would soon part."""

    def turns(weights: list[float]) -> list[int]:
        shares = Shares(weights)
        taken = []
        for _ in range(60):
            taken.append(shares.next())
            shares.tokens[taken[-1]] += 7
        return taken

    assert turns([0.1, 0.2, 0.3]) == turns([1, 2, 3])
