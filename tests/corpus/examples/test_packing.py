from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.corpus.examples.packing import (
    PACKINGS,
    Cut,
    EpochExamples,
    EpochSpans,
    Span,
    hold_out,
    plan_fixed,
    plan_interleaved,
    plan_whole,
    shuffled,
)

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
SEQ_LEN = st.integers(1, 30)
WHOLE = st.sampled_from([plan_whole, plan_interleaved])
Plan = Callable[..., EpochExamples]


def epochs_of(lengths: Sequence[int]) -> EpochSpans:
    spans = [Span(number, 0, length) for number, length in enumerate(lengths)]
    return lambda epoch: [spans[number] for number in shuffled(range(len(spans)), 0, str(epoch))]


def targets_of(plan: EpochExamples) -> Counter[tuple[int, int]]:
    spans = (span for example in plan for span in example)
    return Counter((span.document, place) for span in spans for place in range(span.start, span.stop))


@given(lengths=LENGTHS, seq_len=SEQ_LEN, plan_of=WHOLE)
def test_whole_gives_each_token_once_an_epoch(lengths: list[int], seq_len: int, plan_of: Plan) -> None:
    plan = plan_of(epochs_of(lengths), seq_len, 1)
    every_token = {(number, place): 1 for number, length in enumerate(lengths) for place in range(length)}
    assert targets_of(plan) == every_token
    assert all(0 < sum(span.tokens for span in example) <= seq_len for example in plan)


@given(lengths=LENGTHS, seq_len=SEQ_LEN, plan_of=WHOLE)
def test_whole_cuts_documents_only_at_seq_len_and_shares_what_fits(
    lengths: list[int], seq_len: int, plan_of: Plan
) -> None:
    plan = plan_of(epochs_of(lengths), seq_len, 1)
    for example in plan:
        for span in example:
            assert span.start % seq_len == 0
            assert span.stop == lengths[span.document] or span.tokens == seq_len
    fills = [sum(span.tokens for span in example) for example in plan]
    assert sum(fill <= seq_len / 2 for fill in fills) <= 1


@given(lengths=LENGTHS, seq_len=SEQ_LEN, plan_of=WHOLE)
def test_whole_keeps_the_pieces_of_a_document_in_order(lengths: list[int], seq_len: int, plan_of: Plan) -> None:
    starts: dict[int, list[int]] = {}
    for example in plan_of(epochs_of(lengths), seq_len, 1):
        for span in example:
            starts.setdefault(span.document, []).append(span.start)
    assert all(places == sorted(places) for places in starts.values())


@given(lengths=LENGTHS, seq_len=SEQ_LEN)
def test_interleaved_has_the_examples_of_whole(lengths: list[int], seq_len: int) -> None:
    interleaved, whole = (plan(epochs_of(lengths), seq_len, 1) for plan in (plan_interleaved, plan_whole))
    assert set(interleaved) == set(whole)
    assert len(interleaved) == len(whole)


@given(pieces=st.lists(st.integers(1, 30), min_size=2, max_size=12))
def test_interleaved_spreads_each_document_over_the_epoch(pieces: list[int]) -> None:
    plan = [example[0].document for example in plan_interleaved(epochs_of([5 * each for each in pieces]), 5, 1)]
    for document, count in enumerate(pieces):
        for end in range(len(plan) + 1):
            expected = count * end / len(plan)
            assert abs(plan[:end].count(document) - expected) <= 2


@given(lengths=LENGTHS, first=SEQ_LEN, then=SEQ_LEN, done=st.integers(0, 20), plan_of=WHOLE)
def test_another_length_takes_what_is_left(lengths: list[int], first: int, then: int, done: int, plan_of: Plan) -> None:
    before = plan_of(epochs_of(lengths), first, 1)[:done]
    after = plan_of(epochs_of(lengths), then, 1, [Cut(first, len(before))])
    assert targets_of(before + after) == targets_of(plan_of(epochs_of(lengths), first, 1))


@given(lengths=LENGTHS, seq_len=SEQ_LEN, epochs=st.integers(1, 5))
def test_fixed_fills_every_example_and_loses_nothing_over_epochs(lengths: list[int], seq_len: int, epochs: int) -> None:
    total = sum(lengths)
    plans = [plan_fixed(epochs_of(lengths), seq_len, epoch) for epoch in range(1, epochs + 1)]
    examples = [example for plan in plans for example in plan]
    assert all(sum(span.tokens for span in example) == seq_len for example in examples)
    stream = [(span.document, place) for each in examples for span in each for place in range(span.start, span.stop)]
    expected = [
        (span.document, place)
        for epoch in range(1, epochs + len(stream) // total + 2)
        for span in epochs_of(lengths)(epoch)
        for place in range(span.start, span.stop)
    ]
    assert stream == expected[: len(stream)]
    assert len(stream) >= epochs * total


@given(lengths=LENGTHS, seq_len=SEQ_LEN, epochs=st.integers(1, 5), packing=st.sampled_from(sorted(PACKINGS)))
def test_tokens_are_targets_of_whole_examples_or_carried(
    lengths: list[int], seq_len: int, epochs: int, packing: str
) -> None:
    """Over any number of epochs: tokens = targets of the examples that end by then + carried."""
    total = epochs * sum(lengths)
    ended = 0
    for epoch in range(1, epochs + 1):
        for example in PACKINGS[packing].plan(epochs_of(lengths), seq_len, epoch):
            tokens = sum(span.tokens for span in example)
            ended += tokens if ended + tokens <= total else 0
    assert total == ended + PACKINGS[packing].carried_tokens(sum(lengths), seq_len, epochs)


def test_short_pieces_join_the_example_with_the_least_room_that_holds_them() -> None:
    spans = [Span(number, 0, length) for number, length in enumerate([12, 6, 25, 2, 4])]
    plan = plan_whole(lambda epoch: spans, 10, 1)
    assert plan == [
        (Span(0, 0, 10),),
        (Span(2, 0, 10),),
        (Span(2, 10, 20),),
        (Span(0, 10, 12), Span(1, 0, 6), Span(3, 0, 2)),
        (Span(2, 20, 25), Span(4, 0, 4)),
    ]


def test_fixed_goes_on_where_the_example_before_ended() -> None:
    spans = [Span(0, 0, 7), Span(1, 0, 4)]
    plans = [plan_fixed(lambda epoch: spans, 5, epoch) for epoch in (1, 2)]
    assert plans[0] == [
        (Span(0, 0, 5),),
        (Span(0, 5, 7), Span(1, 0, 3)),
        (Span(1, 3, 4), Span(0, 0, 4)),
    ]
    assert plans[1] == [(Span(0, 4, 7), Span(1, 0, 2)), (Span(1, 2, 4), Span(0, 0, 3))]


@given(lengths=LENGTHS, share=st.floats(0, 0.99), seed=st.integers(0, 9))
def test_held_out_and_training_are_the_corpus(lengths: list[int], share: float, seed: int) -> None:
    training, validation = hold_out(lengths, share, seed)
    assert training
    everything = {(number, place): 1 for number, length in enumerate(lengths) for place in range(length)}
    assert targets_of([tuple(training)]) + targets_of([tuple(validation)]) == everything
    if share == 0:
        assert validation == []
    elif len(lengths) > 1:
        held_out = sum(span.tokens for span in validation)
        assert all(span.tokens == lengths[span.document] for span in validation)
        assert held_out <= share * sum(lengths) or [span.tokens for span in validation] == [min(lengths)]
        assert validation


def test_a_single_document_holds_out_its_tail() -> None:
    assert hold_out([200], 0.05, 0) == ([Span(0, 0, 190)], [Span(0, 190, 200)])
    assert hold_out([2], 0.05, 0) == ([Span(0, 0, 1)], [Span(0, 1, 2)])
    assert hold_out([1], 0.05, 0) == ([Span(0, 0, 1)], [])


def test_the_seed_chooses_what_is_held_out() -> None:
    chosen = {hold_out([10] * 20, 0.1, seed)[1][0].document for seed in range(30)}
    assert len(chosen) > 5


@pytest.mark.parametrize("epoch", [1, 2, 10])
def test_an_order_is_a_permutation_that_changes_with_seed_and_purpose(epoch: int) -> None:
    order = shuffled(range(20), 1, f"epoch {epoch}")
    assert sorted(order) == list(range(20))
    assert order == shuffled(range(20), 1, f"epoch {epoch}")
    assert order != shuffled(range(20), 2, f"epoch {epoch}")
    assert order != shuffled(range(20), 1, f"epoch {epoch + 1}")


def test_the_order_stays_what_it_was() -> None:
    """Runs resume by recomputing orders: a change here would silently change what old runs go on with."""
    assert shuffled(range(6), 42, "epoch 1") == [0, 4, 3, 1, 5, 2]
