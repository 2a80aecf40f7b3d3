"""Tables and charts as plain data: probes fill them, `cli` prints and `report` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Row = Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table whose first column has names and whose other columns have numbers; rules separate its sections."""

    columns: Row
    sections: Sequence[Sequence[Row]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Point:
    """A value, its position along the axis (None: after all others) and its interval; hollow if it has less weight."""

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
    """Lines over an axis of powers or of even steps.

    Attributes:
        caption: what the heights are.
        below: what the axis along is.
        levels: heights that are drawn across, with their names.
        marks: places along the axis that are marked.
        tick_every: the factor from one tick of an axis of powers to the next.
        heights_from: zero, or around the values.
        least: the least end of heights from zero, so that rounding is not blown up to a curve.
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
    """The documents that were too short for anything, as the end of a sentence."""
    return f"; too short: {', '.join(titles)}" if titles else ""
