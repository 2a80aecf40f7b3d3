import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revlm.evaluation.needle import measure_needles
from revlm.evaluation.scorer import Numbers, Tokens
from tests.evaluation.models import VOCABULARY, CountingScorer, lively_scorer, random_text

TOKENS = np.arange(1, VOCABULARY, dtype=np.int32)


class Searching(CountingScorer):
    """Not a model: it expects what followed the latest earlier place with the same four tokens, within its reach."""

    model = type("Anything", (), {"vocab_size": VOCABULARY})()

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def hidden(self, inputs: Tokens, document: Tokens | None = None) -> Tensor:
        latest: dict[tuple[int, ...], int] = {}
        expected = np.zeros(len(inputs), dtype=np.int64)
        for place in range(4, len(inputs)):
            last_four = tuple(inputs[place - 3 : place + 1].tolist())
            found = latest.get(last_four)
            if found is not None and place - found <= self.reach:
                expected[place] = inputs[found + 1]
            latest[last_four] = place
        return torch.from_numpy(expected)

    def ranks(self, hidden: Tensor, targets: Tokens) -> NDArray[np.int64]:
        return np.where(hidden.numpy() == targets, 1, VOCABULARY)

    def losses(self, hidden: Tensor, targets: Tokens) -> Numbers:
        return np.where(hidden.numpy() == targets, 0.0, 4.0)


def test_who_searches_finds_every_needle_that_is_there_and_near_enough() -> None:
    texts = [random_text(7000, 1), random_text(1200, 2), random_text(100, 3, "short")]
    told: list[str] = []
    test = measure_needles(Searching(1500), texts, TOKENS, distances=(256, 700, 1000, 4000), progress=told.append)
    assert test.too_short == ("short",)
    assert [(each.distance, each.needles) for each in test.distances] == [(256, 16), (704, 8), (1024, 8), (4032, 8)]
    assert [each.found.accuracy for each in test.distances] == [1, 1, 1, 0]
    assert [each.found.rank for each in test.distances] == [1, 1, 1, VOCABULARY]
    assert all(each.without.accuracy == 0 for each in test.distances)


def test_the_distance_is_exact() -> None:
    """A needle's fourth token and its repetition's lie the distance and the needle's 16 tokens apart."""
    text = [random_text(2000)]
    for reach, accuracy in ((512 + 16, 1), (512 + 15, 0)):
        [at] = measure_needles(Searching(reach), text, TOKENS, distances=(512,)).distances
        assert at.found.accuracy == accuracy


def test_an_untrained_model_finds_by_chance() -> None:
    test = measure_needles(lively_scorer("local", "lsh"), [random_text(3000)], TOKENS, distances=(256, 1024))
    assert test.chance.accuracy == 1 / 63
    assert test.chance.rank == (VOCABULARY + 1) / 2
    for each in test.distances:
        assert each.found.accuracy < 0.2
        assert abs(each.found.rank - test.chance.rank) < 10
        assert each.found.loss > 3
