"""Examples whose length changes on the way: every token stays a target once an epoch, and every place resumes."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revlm.corpus import Example, PackedCorpus, ScheduledStream, StreamedCorpus
from revlm.corpus.examples.corpus import Corpus, CorpusStream, ExampleStream
from revlm.corpus.examples.mixture import Mixture
from revlm.corpus.reading.sources import open_source
from revlm.corpus.tokenizing.tokenizer import ByteTokenizer
from revlm.errors import StorageError
from revlm.recipe import Data

LENGTHS = (23, 5, 61, 8, 1, 17, 30, 2)
LONGEST = 90
# How many examples of which length come next.
RUNS = st.lists(st.tuples(st.integers(1, LONGEST), st.integers(0, 6)), min_size=1, max_size=5)


@pytest.fixture
def store(make_store: Callable[..., Path]) -> Path:
    return make_store(*LENGTHS, row_tokens=20)


def corpus_of(kind: str, store: Path, packing: str) -> Corpus:
    options: dict[str, Any] = {"seq_len": LONGEST, "packing": packing, "validation": 0.0}
    if kind == "stream":
        return StreamedCorpus(open_source(str(store.parent / "texts")), ByteTokenizer(), seed=0, **options)
    return PackedCorpus(store, seed=3, **options)


def drawn(stream: CorpusStream, runs: list[tuple[int, int]], then: int) -> list[Example]:
    """So many examples of each length, and then as many of the last as give `then` tokens in all."""
    examples = []
    for seq_len, number in runs:
        stream.set_seq_len(seq_len)
        for example in islice(stream, number):
            assert len(example) <= seq_len
            examples.append(example)
    while sum(map(len, examples)) < then:
        examples.append(next(stream))
    return examples


def text_of(examples: list[Example]) -> list[tuple[str, int]]:
    """Every target in order, with the title of its document."""
    return [
        (example.titles[document], target)
        for example in examples
        for document, target in zip(example.document_ids.tolist(), example.targets.tolist(), strict=True)
    ]


def key(example: Example) -> tuple[Any, ...]:
    arrays = (example.inputs, example.targets, example.document_ids)
    return (*(array.tolist() for array in arrays), example.titles, example.epoch, example.target_bytes)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS, kind=st.sampled_from(["store", "stream"]))
def test_whole_gives_each_token_once_an_epoch_however_the_length_changes(
    store: Path, runs: list[tuple[int, int]], kind: str
) -> None:
    corpus, total = corpus_of(kind, store, "whole"), sum(LENGTHS)
    examples = drawn(corpus.training(), runs, 2 * total)
    of_epoch = [[each for each in examples if each.epoch == epoch] for epoch in (1, 2)]
    for epoch in of_epoch:
        assert sum(map(len, epoch)) == total
    texts: list[dict[str, list[int]]] = [{}, {}]
    for text, epoch in zip(texts, of_epoch, strict=True):
        for title, target in text_of(epoch):
            text.setdefault(title, []).append(target)
    expected = dict(documents_of(corpus))
    assert texts == [expected, expected]


def documents_of(corpus: Corpus) -> list[tuple[str, list[int]]]:
    return [
        (title, [target for _, example in pieces for target in example.targets.tolist()])
        for title, pieces in corpus.documents(held_out=False)
    ]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS, kind=st.sampled_from(["store", "stream"]))
def test_fixed_cuts_the_same_endless_text_however_the_length_changes(
    store: Path, runs: list[tuple[int, int]], kind: str
) -> None:
    corpus = corpus_of(kind, store, "fixed")
    stream = corpus.training()
    examples = drawn(stream, runs, 3 * sum(LENGTHS))
    assert [len(each) for each in examples[: sum(number for _, number in runs)]] == [
        seq_len for seq_len, number in runs for _ in range(number)
    ]
    undisturbed = text_of(drawn(corpus.training(), [], sum(map(len, examples))))
    found = text_of(examples)
    assert found == undisturbed[: len(found)]
    done = 0
    for example in examples:
        assert example.epoch == done // sum(LENGTHS) + 1
        done += len(example)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=RUNS,
    kind_and_packing=st.sampled_from(
        [("store", "whole"), ("store", "interleaved"), ("store", "fixed"), ("stream", "whole"), ("stream", "fixed")]
    ),
    per_step=st.integers(1, 3),
)
def test_every_place_resumes_with_identical_examples(
    store: Path, runs: list[tuple[int, int]], kind_and_packing: tuple[str, str], per_step: int
) -> None:
    """Also right before and after a change, and where the steps of two changes have no example between them."""
    kind, packing = kind_and_packing
    corpus, starts, steps = corpus_of(kind, store, packing), [], 0
    for seq_len, number in runs:
        starts.append((steps, seq_len))
        steps += number

    def after(step: int) -> int:
        return [seq_len for start, seq_len in starts if start <= step][-1]

    def scheduled(state: Any, step: int) -> ExampleStream:
        return ScheduledStream(corpus.training(state), after, per_step=per_step, steps=step)

    stream = scheduled(None, 0)
    states, examples = [stream.state()], []
    for _ in range(steps + 3):
        examples += list(islice(stream, per_step))
        states.append(stream.state())
    for step, state in enumerate(states):
        resumed = scheduled(json.loads(json.dumps(state)), step)
        found = list(islice(resumed, len(examples) - step * per_step))
        assert list(map(key, found)) == list(map(key, examples[step * per_step :])), step
        assert resumed.state() == states[-1]


def test_a_mixture_changes_the_length_of_each_store(store: Path, tmp_path: Path) -> None:
    from tests.tiny_run import write_tokens

    stores = [
        PackedCorpus(path, seq_len=64, packing="whole", seed=0, validation=0.0)
        for path in (store, write_tokens(tmp_path / "other"))
    ]
    mixture = Mixture(stores)
    stream, runs = mixture.training(), [(8, 5), (64, 3), (16, 4)]
    examples = drawn(stream, runs, 0)
    resumed = mixture.training(json.loads(json.dumps(stream.state())))
    assert [key(next(resumed)) for _ in range(9)] == [key(next(stream)) for _ in range(9)]
    examples = drawn(mixture.training(), runs, mixture.n_training_tokens)
    first = Counter(title for title, _ in text_of([each for each in examples if each.epoch == 1]))
    counts = {title: len(text) for title, text in documents_of(mixture)}
    assert all(number <= counts[title] for title, number in first.items())


@pytest.mark.parametrize(
    "damage",
    [
        {"earlier": None},
        {"earlier": [[0, 1]]},
        {"earlier": [[8]]},
        {"earlier": [[8, -1]]},
        {"seq_len": 0},
        {"seq_len": None},
        {"earlier": [["8", 1]]},
    ],
    ids=str,
)
def test_a_damaged_place_is_refused(store: Path, damage: dict[str, Any]) -> None:
    corpus = corpus_of("store", store, "whole")
    with pytest.raises(StorageError, match="damaged"):
        corpus.training(corpus.training().state() | damage)


def test_the_length_of_a_step() -> None:
    data = Data.model_validate({"path": "tokens", "seq_len_schedule": [[0, 8], [3, 8], [5, 32], [9, 16]]})
    assert [data.seq_len_after(step) for step in range(11)] == [8] * 5 + [32] * 4 + [16] * 2
    assert data.seq_len == 32
    assert data.seq_len_changes == {5: 32, 9: 16}
    assert Data.model_validate({"path": "tokens"}).seq_len_changes == {}
