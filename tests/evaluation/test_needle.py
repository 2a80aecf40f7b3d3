import numpy as np

from revlm.evaluation.probes.needle import measure_needles
from tests.evaluation.models import VOCABULARY, Searching, lively_scorer, random_text

TOKENS = np.arange(1, VOCABULARY, dtype=np.int32)


def test_who_searches_finds_every_needle_that_is_there_and_near_enough() -> None:
    texts = [random_text(7000, 1), random_text(1200, 2), random_text(100, 3, "short")]
    told: list[str] = []
    test = measure_needles(Searching(1500), texts, TOKENS, distances=(256, 700, 1000, 4000), progress=told.append)
    assert test.too_short == ["short"]
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
