from itertools import pairwise

import numpy as np
import pytest
from torch import Tensor

from revlm.evaluation.interval import mean_interval
from revlm.evaluation.probes.context import measure_context_gain
from revlm.evaluation.scorer import Numbers, Tokens
from tests.evaluation.models import CountingScorer, counting_text, lively_scorer, random_text


class Remembering(CountingScorer):
    """It also remembers the targets of each call."""

    def __init__(self) -> None:
        self.scored: list[list[int]] = []

    def losses(self, hidden: Tensor, targets: Tokens) -> Numbers:
        self.scored.append(targets.tolist())
        return super().losses(hidden, targets)


def test_a_target_sees_between_the_context_and_five_quarters_of_it() -> None:
    texts = [counting_text(3000), counting_text(700), counting_text(18, "short")]
    gain = measure_context_gain(CountingScorer(), texts, lengths=(64, 16, 256, 1024), samples=5, targets=100)
    assert [each.context for each in gain.lengths] == [16, 64, 256, 1024, None]
    assert [each.documents for each in gain.lengths] == [2, 2, 2, 1, 2]
    assert gain.too_short == ["short"]
    for each in gain.lengths:
        assert each.loss == pytest.approx(each.seen)  # a loss here is the number of tokens seen
        if each.context is not None:
            assert each.context <= each.loss < 1.25 * each.context
    # Three samples lie in the first document and two in the second, beyond their largest contexts.
    assert [each.targets for each in gain.lengths] == [500, 500, 500, 300, 500]
    assert gain.lengths[-1].loss > 600


def test_the_targets_of_all_contexts_are_the_same() -> None:
    scorer = Remembering()
    measure_context_gain(scorer, [counting_text(5000)], lengths=(16, 64, 256), samples=3, targets=128)
    whole = scorer.scored[-1]
    assert len(set(whole)) == 3 * 128
    assert min(whole) > 256
    assert scorer.scored == [whole] * 4


def test_cuts_that_share_a_pass_score_as_each_alone() -> None:
    scorer = lively_scorer("local", "lsh", window=16)
    text, context, targets = random_text(128), 96, 32  # room for just these targets
    losses = []
    for first in range(context, context + targets, context // 4):
        last = min(first + context // 4, context + targets)
        cut = text.tokens[first - context : last]
        losses.append(scorer.losses(scorer.hidden(cut[:-1])[context - 1 :], cut[context:]))
    alone = float(np.concatenate(losses).mean())
    gain = measure_context_gain(scorer, [text], lengths=(context,), samples=1, targets=targets)
    assert gain.lengths[0].loss == pytest.approx(alone, abs=1e-9)


def test_local_layers_gain_nothing_beyond_what_they_reach() -> None:
    scorer = lively_scorer("local", n_layers=2, window=8)  # they reach 2 x 7 tokens before an input
    text = random_text(2000)
    beyond = measure_context_gain(scorer, [text], lengths=(16, 64, 256), samples=2, targets=64)
    assert max(abs(each.gain) for each in beyond.lengths) < 1e-9
    within = measure_context_gain(scorer, [text], lengths=(4, 16), samples=2, targets=64)
    assert abs(within.lengths[1].gain) > 1e-3
    hashed = measure_context_gain(lively_scorer("lsh", window=64), [text], lengths=(16, 64, 256), targets=64)
    assert abs(hashed.lengths[-1].gain) > 1e-3


def test_an_interval_needs_two_documents() -> None:
    scorer = lively_scorer("lsh")
    texts = [random_text(300, seed) for seed in range(3)]
    one, three = (measure_context_gain(scorer, some, lengths=(8, 32), targets=64) for some in (texts[:1], texts))
    assert one.lengths[1].interval is None
    interval = three.lengths[1].interval
    assert interval is not None
    assert interval[0] < three.lengths[1].gain < interval[1]


def test_intervals_are_students() -> None:
    for degrees, quantile in ((1, 12.7062), (2, 4.3027), (4, 2.7764), (30, 2.0423), (1000, 1.9623)):
        values = np.arange(degrees + 1.0)
        low, high = mean_interval(values) or (0.0, 0.0)
        assert (high - low) / 2 == pytest.approx(quantile * values.std(ddof=1) / (degrees + 1) ** 0.5, rel=1e-4)
    low, high = mean_interval(np.array([1.0, 2.0, 3.0])) or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(2)
    assert high - 2 == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert mean_interval(np.array([1.0])) is None


def test_intervals_hold_what_they_promise() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        low, high = mean_interval(generator.normal(1.0, 3.0, size=3)) or (0.0, 0.0)
        held += low < 1.0 < high
    assert 0.93 < held / 2000 < 0.97


def test_samples_of_a_document_do_not_overlap() -> None:
    scorer = Remembering()
    measure_context_gain(scorer, [counting_text(600)], lengths=(16,), samples=50, targets=100)
    assert len(scorer.scored[-1]) == 500
    assert all(low < high for low, high in pairwise(scorer.scored[-1]))
