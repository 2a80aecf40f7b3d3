import numpy as np
import pytest
from torch import Tensor

from revlm.evaluation.interval import mean_interval, pooled_interval
from revlm.evaluation.probes import repeats
from revlm.evaluation.probes.repeats import REPEATS, distances_of_repeats, measure_repeats
from revlm.evaluation.scorer import Tokens
from revlm.evaluation.texts import Text
from revlm.evaluation.views import Chart
from tests.evaluation.models import Searching, lively_scorer, random_text


def naive_distances(tokens: Tokens, context: int, most_earlier: int) -> list[int]:
    """The definition, token by token."""
    found = []
    for t in range(len(tokens)):
        earlier = [
            s for s in range(context, t) if t >= context and (tokens[s - context : s] == tokens[t - context : t]).all()
        ]
        known = 1 <= len(earlier) <= most_earlier and tokens[earlier[-1]] == tokens[t]
        found.append(t - earlier[-1] if known else 0)
    return found


@pytest.mark.parametrize("vocabulary", [1, 2, 5, 50])
@pytest.mark.parametrize(("context", "most_earlier"), [(1, 3), (2, 1), (3, 3), (7, 2)])
def test_distances_are_those_of_the_definition(vocabulary: int, context: int, most_earlier: int) -> None:
    generator = np.random.default_rng(vocabulary)
    for length in (0, 1, 2, context, context + 1, context + 2, 90):
        tokens = generator.integers(7, 7 + vocabulary, length).astype(np.int32)
        assert distances_of_repeats(tokens, context, most_earlier).tolist() == naive_distances(
            tokens, context, most_earlier
        )


def test_numbers_of_contexts_stay_apart_in_the_largest_vocabulary() -> None:
    tokens = np.arange(2**20, dtype=np.int32)
    tokens[-4:] = tokens[:4]
    distances = distances_of_repeats(tokens, 3)
    assert np.flatnonzero(distances).tolist() == [2**20 - 1]
    assert distances[-1] == 2**20 - 4


class Remembering(Searching):
    """A loss of 1 after a context of three tokens that came within reach, and of 4 where none is remembered."""

    def losses(self, hidden: Tensor, targets: Tokens) -> np.ndarray:
        return np.where(hidden.numpy() >= 0, 1.0, 4.0)


def repeating_text(distance: int, title: str = "text") -> Text:
    """Tokens that all differ, then the same again, `distance` tokens long."""
    tokens = np.arange(1, distance + 1, dtype=np.int32)
    return Text(title, 0, np.concatenate([tokens, tokens]))


def test_the_loss_of_who_forgets_rises_where_its_memory_ends() -> None:
    texts = [repeating_text(distance) for distance in (100, 256, 1100, 5000)]
    found = measure_repeats(Remembering(reach=1500, cue=3), texts)
    assert [(each.first, each.last, each.tokens, each.loss) for each in found.distances] == [
        (1, 255, 97, 1.0),
        (256, 1023, 253, 1.0),
        (1024, 4095, 1097, 1.0),
        (4096, 16383, 4997, 4.0),
    ]
    assert [each.interval for each in found.distances] == [None] * 4
    repeated = sum(each.tokens for each in found.distances if each.loss == 1)
    assert (found.total.documents, found.total.tokens) == (4, 2 * 6456)
    assert found.total.loss == pytest.approx(4 - 3 * repeated / 12912)
    assert found.total.interval is not None


def test_a_bin_pools_its_documents_and_its_interval_is_over_them() -> None:
    found = measure_repeats(Remembering(reach=250, cue=3), [repeating_text(length) for length in (240, 252)])
    [near] = found.distances
    assert (near.documents, near.tokens) == (2, 486)
    assert near.loss == pytest.approx((237 * 1 + 249 * 4) / 486)
    assert near.interval is not None
    assert sum(near.interval) / 2 == pytest.approx(near.loss)


def test_the_interval_of_a_pool_is_students_where_documents_are_alike() -> None:
    means, counts = np.array([1.0, 2.0, 4.0]), np.array([7, 7, 7])
    assert pooled_interval(means * counts, counts) == pytest.approx(mean_interval(means))
    assert pooled_interval(means[:1], counts[:1]) is None


def test_intervals_of_pools_of_unlike_documents_hold_what_they_promise() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        counts = generator.integers(50, 150, size=10)
        low, high = pooled_interval(generator.normal(1.0, 3.0, size=10) * counts, counts) or (0.0, 0.0)
        held += low < 1.0 < high
    assert 0.93 < held / 2000 < 0.97


def test_a_document_is_one_pass_and_each_token_has_its_own_loss() -> None:
    scorer, text = lively_scorer("local", "lsh"), random_text(400)
    losses = scorer.losses(scorer.hidden(text.inputs(400)), text.tokens)
    found = measure_repeats(scorer, [text], context=1)
    distances = distances_of_repeats(text.tokens, 1)
    assert found.total.loss == pytest.approx(losses.mean())
    for each in found.distances:
        chosen = losses[(each.first <= distances) & (distances <= each.last)]
        assert (each.tokens, each.loss) == (len(chosen), pytest.approx(chosen.mean()))
    assert sum(each.tokens for each in found.distances) == np.count_nonzero(distances)


def test_of_a_document_beyond_the_longest_its_beginning_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "LONGEST", 300)
    found = measure_repeats(Remembering(reach=1000, cue=3), [repeating_text(200)])
    assert (found.total.tokens, found.distances[0].tokens) == (300, 97)


def test_documents_without_a_repeat_have_a_table_and_no_picture() -> None:
    for texts in ([random_text(2)], []):
        found = measure_repeats(lively_scorer("local"), texts)
        assert found.distances == []
        assert REPEATS.panels(found) == []
        [table] = REPEATS.tables(found)
        assert len(table.sections[1]) == 1


def test_points_of_few_tokens_are_hollow() -> None:
    found = measure_repeats(Remembering(reach=10**6, cue=3), [repeating_text(100), repeating_text(300)])
    [chart] = REPEATS.panels(found)
    assert isinstance(chart, Chart)
    assert [(point.along, point.hollow) for point in chart.lines[0].points] == [(1, True), (256, False), (None, False)]
