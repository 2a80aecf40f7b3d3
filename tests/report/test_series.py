import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.report.pictures.series import running_mean, smoothed, spread

PLACES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(PLACES)
def test_spread_labels_keep_their_order_their_gap_and_their_bounds(places: list[float]) -> None:
    moved = spread(places, 0.1, 0.0, 1.0)
    order = np.argsort(places, kind="stable")
    assert np.all(np.diff(np.array(moved)[order]) >= 0.1 - 1e-9)
    assert min(moved) >= -1e-9
    assert max(moved) <= 1.0 + 1e-9


def test_labels_of_lines_that_coincide_lie_around_them() -> None:
    assert spread([0.5, 0.5, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([1.0, 1.0], 0.1, 0.0, 1.0) == pytest.approx([0.9, 1.0])
    assert spread([], 0.1, 0.0, 1.0) == []


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.9, 0.1, 0.5])


def test_the_running_mean_of_a_level_line_is_the_line() -> None:
    np.testing.assert_allclose(running_mean(np.full(50, 3.0), 7), 3.0)


def test_the_running_mean_is_the_mean_of_the_window() -> None:
    values = np.arange(9.0) ** 2
    mean = running_mean(values, 2)
    assert mean[0] == values[0]
    assert mean[1] == pytest.approx(values[0:3].mean())
    assert mean[4] == pytest.approx(values[2:7].mean())
    assert mean[-1] == pytest.approx(values[-3:].mean())


def test_the_running_mean_leaves_out_what_is_not_known() -> None:
    mean = running_mean(np.array([1.0, np.nan, 3.0, np.nan, np.nan, np.nan]), 1)
    assert mean[1] == pytest.approx(2.0)
    assert np.isnan(mean[4])


def test_a_short_run_is_not_smoothed() -> None:
    values = np.random.default_rng(0).normal(size=79)
    np.testing.assert_array_equal(smoothed(values), values)
