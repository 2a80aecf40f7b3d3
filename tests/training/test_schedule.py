import math
from pathlib import Path

import pytest

from revlm.training import train
from revlm.training.schedule import Schedule, jump_notice
from tests.tiny_run import tiny_recipe, write_tokens


def test_the_rate_of_every_step() -> None:
    schedule = Schedule(peak=1.0, warmup_steps=2, min_ratio=0.1, max_steps=9)
    rates = [schedule.learning_rate(step) for step in range(1, 10)]
    expected = [0.5, *(0.1 + 0.9 * (1 + math.cos(math.pi * done / 8)) / 2 for done in range(8))]
    assert rates == pytest.approx(expected)
    assert schedule.learning_rate(10) == pytest.approx(0.1)


@pytest.mark.parametrize("max_steps", [1, 2, 3, 100])
@pytest.mark.parametrize("warmup_steps", [0, 1, 2, 50])
def test_every_step_has_an_effect_and_the_peak_is_used(max_steps: int, warmup_steps: int) -> None:
    schedule = Schedule(peak=1.0, warmup_steps=warmup_steps, min_ratio=0.0, max_steps=max_steps)
    rates = [schedule.learning_rate(step) for step in range(1, max_steps + 1)]
    assert min(rates) > 0
    if warmup_steps <= max_steps:
        assert max(rates) == 1
    after_the_peak = rates[max(warmup_steps, 1) - 1 :]
    assert after_the_peak == sorted(after_the_peak, reverse=True)


def test_a_jump_is_one_sentence_and_no_change_is_none() -> None:
    finished, longer = (Schedule(6e-3, 0, 0.1, steps) for steps in (10, 20))
    assert jump_notice(finished, finished, 5) is None
    notice = jump_notice(finished, longer, 10)
    assert notice is not None
    assert notice.startswith("the learning rate jumps from 7.")
    assert "at step 11" in notice
    assert jump_notice(longer, Schedule(6e-3, 0, 0.1, 21), 3) is None


def test_going_on_with_more_steps_says_what_the_rate_does(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    said: list[str] = []
    list(train(tiny_recipe(tmp_path / "run"), said.append))
    assert not any("jumps" in text for text in said)
    list(train(tiny_recipe(tmp_path / "run", "train.max_steps=8"), said.append, allow_change=True))
    assert sum("the learning rate jumps from" in text for text in said) == 1
