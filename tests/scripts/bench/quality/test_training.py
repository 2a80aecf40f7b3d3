"""The budget ends a training, the schedule spends it, and windows score every place once."""

import math
from typing import ClassVar

import numpy as np
import pytest

from bench.quality.texts import windows
from bench.quality.training import Budget, learning_rate_factor, trained_within


class Reader:
    """Not a model: it reads 100 bytes an update, and keeps the learning rates."""

    parameters = 7
    nats: ClassVar[float] = 80.0

    def __init__(self) -> None:
        self.rates: list[float] = []

    def update(self, learning_rate: float) -> int:
        self.rates.append(learning_rate)
        return 100

    def held_out_nats(self) -> float:
        return self.nats


def test_a_training_ends_once_its_text_is_read() -> None:
    reader = Reader()
    result = trained_within(reader, Budget(text_bytes=950), 2.0, held_out_bytes=10)
    assert (result["updates"], result["text_bytes"], result["parameters"]) == (10, 1000, 7)
    assert result["bits_per_byte"] == pytest.approx(8 / math.log(2))
    assert max(reader.rates) < 2.0
    assert reader.rates[-1] < reader.rates[2]


def test_a_training_ends_once_its_processor_time_is_spent() -> None:
    result = trained_within(Reader(), Budget(seconds=0.05), 1.0, held_out_bytes=10)
    assert 0.05 <= result["processor_seconds"] < 1
    assert result["updates"] > 1


def test_a_score_that_is_not_finite_is_an_error() -> None:
    reader = Reader()
    reader.__dict__["nats"] = math.nan
    with pytest.raises(ArithmeticError, match="held-out text is nan"):
        trained_within(reader, Budget(text_bytes=100), 1.0, held_out_bytes=10)


def test_the_learning_rate_rises_and_falls_over_the_budget() -> None:
    factors = [learning_rate_factor(spent) for spent in np.linspace(0, 1, 201)]
    peak = int(np.argmax(factors))
    assert 0 < factors[0] < 0.1
    assert factors[peak] == pytest.approx(1.0)
    assert 5 <= peak <= 15
    assert (np.diff(factors[peak:]) < 0).all()
    assert factors[-1] == pytest.approx(0.02)


@pytest.mark.parametrize("size", [1, 7, 8, 12, 13, 100, 101])
def test_windows_score_each_place_once_with_half_a_window_before_it(size: int) -> None:
    scored = []
    for start, stop, first in windows(size, 8):
        assert 0 < stop - start <= 8
        assert start == 0 or first - start >= 4
        scored += list(range(first, stop))
    assert scored == list(range(size))
