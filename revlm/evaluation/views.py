"""Tables and charts as plain data: probes fill them, `cli` prints and `report` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Row = Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table with names in the first column and numbers in the others; lines separate its sections."""

    columns: Row
    sections: Sequence[Sequence[Row]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Point:
    """A value, its position along the axis (None: after all others) and its interval; hollow: from few tokens."""

    along: int | None
    height: float
    interval: tuple[float, float] | None = None
    hollow: bool = False


@dataclass(frozen=True)
class Line:
    """Points in order along the axis. `color` is an index into the colours of runs."""

    name: str
    points: Sequence[Point]
    color: int = 0
    thin: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over a horizontal axis.

    Attributes:
        caption: the label of the values.
        below: the label of the horizontal axis.
        levels: values drawn as horizontal lines, with their names.
        marks: positions along the horizontal axis that are marked.
        along: whether the horizontal axis has powers, or the points in even steps.
        tick_every: the factor between two ticks of an axis of powers.
        heights_from: whether the vertical axis begins at zero, or around the values.
        least: the smallest end of a vertical axis from zero, so that rounding does not look like a curve.
        percent: whether the values are shares.
        ordered: whether the lines have an order, which their colours show.
    """

    caption: str
    below: str
    lines: Sequence[Line]
    levels: Sequence[tuple[str, float]] = ()
    marks: Sequence[int] = ()
    along: Literal["powers", "even"] = "powers"
    tick_every: int = 4
    heights_from: Literal["zero", "around"] = "zero"
    least: float = 1e-6
    percent: bool = False
    ordered: bool = False


@dataclass(frozen=True)
class Bar:
    """A named value; bars of a group share a colour, an index into the colours of runs."""

    name: str
    value: float
    group: str
    color: int


@dataclass(frozen=True)
class Bars:
    """Horizontal bars with their values; the bars of `below` are set apart under the others."""

    caption: str
    bars: Sequence[Bar]
    below: Sequence[Bar] = ()


Panel = Chart | Bars


def left_out(titles: Sequence[str]) -> str:
    """The titles of documents that were too short, as the end of a sentence."""
    return f"; too short: {', '.join(titles)}" if titles else ""
