import math
from pathlib import Path

import pytest

from revlm.training import train
from revlm.training.optimization import Schedule, jump_notice
from revlm.training.optimization.schedule import SHAPES
from tests.tiny_run import tiny_recipe, write_tokens


def schedule_of(
    name: str = "cosine", *, warmup: int = 0, decay: int = 0, min_ratio: float = 0.1, steps: int = 10
) -> Schedule:
    return Schedule(name, 1.0, warmup, decay, min_ratio, steps)


def rates_of(schedule: Schedule) -> list[float]:
    return [schedule.learning_rate(step) for step in range(1, schedule.max_steps + 1)]


def test_the_rate_of_every_step() -> None:
    schedule = schedule_of(warmup=2, steps=9)
    expected = [0.5, *(0.1 + 0.9 * (1 + math.cos(math.pi * done / 8)) / 2 for done in range(8))]
    assert rates_of(schedule) == pytest.approx(expected)
    assert schedule.learning_rate(10) == pytest.approx(0.1)


def test_wsd_is_stable_and_then_decays_on_a_line() -> None:
    schedule = schedule_of("wsd", warmup=2, decay=3, min_ratio=0.2, steps=8)
    assert rates_of(schedule) == pytest.approx([0.5, 1, 1, 1, 1, 0.8, 0.6, 0.4])
    assert schedule.learning_rate(9) == pytest.approx(0.2)
    assert rates_of(schedule_of("wsd", steps=4)) == [1, 1, 1, 1]


def test_constant_never_decays() -> None:
    assert rates_of(schedule_of("constant", warmup=2, decay=3, steps=5)) == [0.5, 1, 1, 1, 1]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("max_steps", [1, 2, 3, 100])
@pytest.mark.parametrize("warmup_steps", [0, 1, 2, 50])
@pytest.mark.parametrize("decay_steps", [0, 1, 60, 200])
def test_every_step_has_an_effect_and_the_peak_is_used(
    name: str, max_steps: int, warmup_steps: int, decay_steps: int
) -> None:
    rates = rates_of(schedule_of(name, warmup=warmup_steps, decay=decay_steps, min_ratio=0.0, steps=max_steps))
    assert min(rates) > 0
    if warmup_steps <= max_steps:
        assert max(rates) == 1
    after_the_peak = rates[max(warmup_steps, 1) - 1 :]
    assert after_the_peak == sorted(after_the_peak, reverse=True)


def test_a_jump_is_one_sentence_and_no_change_is_none() -> None:
    finished, longer = (Schedule("cosine", 6e-3, 0, 0, 0.1, steps) for steps in (10, 20))
    assert jump_notice(finished, finished, 5) is None
    notice = jump_notice(finished, longer, 10)
    assert notice is not None
    assert notice.startswith("the learning rate jumps from 7.")
    assert "at step 11" in notice
    assert jump_notice(longer, Schedule("cosine", 6e-3, 0, 0, 0.1, 21), 3) is None


def test_more_steps_do_not_change_the_stable_phase() -> None:
    shorter, longer = (schedule_of("wsd", warmup=4, decay=10, steps=steps) for steps in (100, 200))
    assert all(jump_notice(shorter, longer, done) is None for done in range(91))
    assert [shorter.learning_rate(step) for step in range(1, 91)] == [
        longer.learning_rate(step) for step in range(1, 91)
    ]
    assert jump_notice(shorter, longer, 100) is not None
    ended, going_on = (schedule_of("constant", warmup=4, steps=steps) for steps in (100, 200))
    assert jump_notice(ended, going_on, 100) is None


def test_a_warm_up_that_goes_on_is_no_jump() -> None:
    assert jump_notice(schedule_of(warmup=5, steps=50), schedule_of(warmup=5, steps=60), 2) is None


def test_going_on_with_more_steps_says_what_the_rate_does(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    said: list[str] = []
    list(train(tiny_recipe(tmp_path / "run"), said.append))
    assert not any("jumps" in text for text in said)
    list(train(tiny_recipe(tmp_path / "run", "train.max_steps=8"), said.append, allow_change=True))
    assert sum("the learning rate jumps from" in text for text in said) == 1


def test_a_run_goes_on_from_its_stable_phase_with_the_weights_of_a_longer_run(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens")
    wsd = ("lr_scheduler.name=wsd", "lr_scheduler.decay_steps=1", "checkpoint.every=2", "checkpoint.keep_last=2")
    at_once = list(train(tiny_recipe(tmp_path / "run", *wsd, "train.max_steps=4", f"output_dir={tmp_path / 'long'}")))
    said: list[str] = []
    list(train(tiny_recipe(tmp_path / "run", *wsd, "train.max_steps=3")))
    (tmp_path / "run" / "checkpoints" / "step-00000003").rename(tmp_path / "decayed")
    longer = tiny_recipe(tmp_path / "run", *wsd, "train.max_steps=4")
    resumed = list(train(longer, said.append, allow_change=True))
    assert not any("jumps" in text for text in said)
    expected = {record["step"]: record["loss"] for record in at_once if record["event"] == "step"}
    assert {record["step"]: record["loss"] for record in resumed if record["event"] == "step"} == {
        step: expected[step] for step in (3, 4)
    }
