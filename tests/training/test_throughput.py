import random

import pytest

from revlm.training.throughput import LAST_STEPS, ThroughputMonitor


def notices(rates: list[float | None]) -> list[int]:
    """The steps, from 1, whose record made a notice."""
    watch = ThroughputMonitor()
    records = [{"event": "step", "step": step, "tokens_per_second": rate} for step, rate in enumerate(rates, start=1)]
    return [record["step"] for record in records if watch.add(record)]


def test_a_steady_run_is_silent():
    draw = random.Random(0)
    assert notices([1000 * draw.uniform(0.85, 1.15) for _ in range(500)]) == []


def test_a_fall_is_said_once_when_most_of_the_last_steps_are_slow():
    assert notices([1000.0] * 40 + [700.0] * 300) == [40 + LAST_STEPS // 2 + 1]


def test_a_fall_within_the_share_and_single_slow_steps_are_not_said():
    assert notices([1000.0] * 40 + [820.0] * 300) == []
    assert notices(([1000.0] * 9 + [10.0]) * 20) == []


def test_after_it_recovered_the_next_fall_is_said_again():
    fall_and_rise = [500.0] * 60 + [1000.0] * 60
    first = 40 + LAST_STEPS // 2  # half of them: the median is the mean of 500 and 1,000
    assert notices([1000.0] * 40 + fall_and_rise * 2) == [first, first + 120]


def test_a_long_slow_time_does_not_become_the_measure():
    slow_and_recovered = [500.0] * 200 + [1000.0] * 60
    assert len(notices([1000.0] * 40 + slow_and_recovered + [700.0] * 40)) == 2


def test_between_the_two_shares_it_is_not_said_again_and_again():
    assert len(notices([1000.0] * 40 + ([700.0] * 30 + [850.0] * 30) * 5)) == 1


@pytest.mark.parametrize("earlier", [1, LAST_STEPS - 1])
def test_the_first_steps_have_nothing_to_be_compared_with(earlier: int):
    assert notices([1000.0] * earlier + [100.0] * LAST_STEPS) == []


def test_the_sentence_has_step_rates_and_share():
    watch = ThroughputMonitor()
    for step in range(1, 60):
        rate = 2000.0 if step <= 40 else 1000.0
        if notice := watch.add({"event": "step", "step": step, "tokens_per_second": rate}):
            break
    assert notice.startswith("step 50: 1,500 tokens/s, the median of the last 20 steps, is 75% of the 2,000 before")


def test_evaluations_and_steps_without_a_rate_are_passed_over():
    watch = ThroughputMonitor()
    assert watch.add({"event": "evaluate", "step": 1, "tokens_per_second": 1.0}) is None
    assert notices([None, *([1000.0] * 40)]) == []
