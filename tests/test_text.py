import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.text import (
    ABSENT,
    clock,
    figure_text,
    human_bytes,
    human_count,
    human_duration,
    plural,
    time_unit,
    visible_text,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (312_400_000, "312 MB"),
        (999_999_999, "1.00 GB"),
        (1_840_000_000, "1.84 GB"),
        (80 * 10**9, "80.0 GB"),
        (4 * 10**15, "4000 TB"),
    ],
)
def test_bytes_have_three_significant_digits(number: int, text: str) -> None:
    assert human_bytes(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1K"),
        (65_536, "65.5K"),
        (999_999, "1M"),
        (3_276_800, "3.28M"),
        (12e9, "12B"),
    ],
)
def test_counts_are_short(number: float, text: str) -> None:
    assert human_count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (12.2, "12 s"), (124, "2 min 4 s"), (11_520, "3 h 12 min"), (183_600, "2 d 3 h")],
)
def test_durations_name_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (724, "12:04"), (3753, "1:02:33")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("form", [human_bytes, human_count, human_duration, clock])
@pytest.mark.parametrize("number", [None, math.nan, math.inf])
def test_what_cannot_be_shown_is_absent(form: object, number: float | None) -> None:
    assert callable(form)
    assert form(number) == ABSENT


def test_figure_text_is_absent_for_none() -> None:
    assert figure_text(None) == ABSENT
    assert figure_text(4812.4, ",.0f") == "4,812"


def test_one_is_singular() -> None:
    assert plural(1, "step") == "1 step"
    assert plural(3000, "step") == "3,000 steps"


def test_time_unit_leaves_at_least_two_units() -> None:
    assert time_unit(100) == (1, "seconds")
    assert time_unit(7300) == (3600, "hours")


@given(st.text())
def test_visible_text_holds_nothing_that_moves_a_cursor_or_cannot_be_encoded(text: str) -> None:
    shown = visible_text(text)
    assert len(shown) == len(text)
    assert "\x1b" not in shown
    assert "\r" not in shown
    shown.encode("utf-8")


def test_visible_text_keeps_lines_and_letters() -> None:
    assert visible_text("Ünïcode\n\t“quoted”") == "Ünïcode\n\t“quoted”"
    assert visible_text("a\x1b[31mb\ud800") == "a\N{REPLACEMENT CHARACTER}[31mb\N{REPLACEMENT CHARACTER}"
