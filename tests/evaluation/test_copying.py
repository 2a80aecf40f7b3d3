from contextlib import nullcontext

import numpy as np
import pytest

from revlm.evaluation.probes.copying import measure_copying
from revlm.evaluation.scorer import Scorer
from scripts.repeated_sequence import train_on_repetitions
from tests.evaluation.models import VOCABULARY, Searching, lively_scorer

TOKENS = np.arange(1, VOCABULARY, dtype=np.int32)


def test_an_untrained_model_copies_by_chance() -> None:
    copying = measure_copying(lively_scorer("local", "lsh"), TOKENS, begin_id=0, longest=1024, rounds=(1, 4))
    assert copying.chance == 1 / 63
    assert copying.own_rounds == 2
    assert [(each.length, each.rounds) for each in copying.accuracies] == [
        (length, rounds) for length in (128, 512) for rounds in (1, 2, 4)
    ]
    assert all(each.accuracy < 4 * copying.chance for each in copying.accuracies)


def test_a_model_that_does_not_hash_is_asked_once_a_length() -> None:
    copying = measure_copying(lively_scorer("local"), TOKENS, begin_id=0, longest=64)
    assert [(each.length, each.rounds) for each in copying.accuracies] == [(32, None)]


def test_the_shortest_example_has_an_answer() -> None:
    copying = measure_copying(lively_scorer("local"), TOKENS, begin_id=0, longest=2)
    assert [each.length for each in copying.accuracies] == [2]
    assert 0 <= copying.accuracies[0].accuracy <= 1


def test_who_remembers_that_far_predicts_every_token_that_is_announced() -> None:
    different = np.arange(1, 10**7, dtype=np.int32)  # so many that none is likely to come twice in one copy
    copying = measure_copying(Searching(600, cue=1), different, begin_id=0, longest=2048, lengths=(100, 512, 1024))
    assert [(each.length, each.accuracy) for each in copying.accuracies] == [(100, 1), (512, 1), (1024, 0)]


@pytest.mark.slow
def test_a_model_that_learned_to_copy_does_so_with_its_rounds_and_more() -> None:
    model, _ = train_on_repetitions(successor_values=True, half=128, vocabulary=VOCABULARY)
    copying = measure_copying(
        Scorer(model, nullcontext()), TOKENS, begin_id=0, longest=256, lengths=(128,), rounds=(1, 4, 8)
    )
    one, own, more = (each.accuracy for each in copying.accuracies)
    assert own > 0.9
    assert more > 0.9
    assert copying.chance < one < own
