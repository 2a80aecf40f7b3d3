"""What all pictures are drawn on: panels, axes, keys and labels.

Pictures are built on `Figure` objects and drawn with Agg; there is no pyplot and no global state. Lengths are inches at
100 CSS pixels an inch, drawn at twice that resolution. Where things lie is found by matplotlib's constrained layout.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from revlm.report.bins import FloatArray
from revlm.report.history import History
from revlm.report.pictures.series import spread
from revlm.report.pictures.theme import Theme
from revlm.text import binary_count, human_count, visible_text

CSS_PIXELS_PER_INCH = 100
RESOLUTION = 2
FONT_SIZE = 9.0  # points: 12.5 CSS pixels
LONGEST_NAME = 32
_LONGEST_TITLE = 80
_ROW = 0.22  # inches from one line of text to the next
_AXIS = 0.6  # inches for the caption above a panel and the labels below it
_CHARACTER = 0.085  # inches, of a bold word in the mean
_ROUND_STEPS = [1, 2, 5, 10]


class KeyEntry(NamedTuple):
    """A coloured word of the key; `marker` is drawn before it: `-` a line, `--` dashes, `D` a diamond, `s` a square."""

    label: str
    color: str
    marker: Literal["-", "--", "D", "s"] = "-"


@dataclass(frozen=True)
class Canvas:
    """The theme of a picture, its width in inches, and a title if it stands alone."""

    theme: Theme
    width: float = 8.6
    title: str | None = None

    @property
    def narrow(self) -> bool:
        """Whether the picture is for a phone, where panels are stacked."""
        return self.width < 5

    def panels(
        self,
        rows: Sequence[Sequence[str]],
        heights: Sequence[float],
        *,
        widths: Sequence[float] | None = None,
        key: Sequence[KeyEntry] = (),
    ) -> tuple[Figure, dict[str, Axes]]:
        """A figure with named panels, in rows of the given heights in inches; a name may span several columns."""
        columns = self._key_columns(key)
        head = _ROW * (bool(self.title) + -(-len(key) // columns)) + 0.15
        figure = Figure(
            figsize=(self.width, head + sum(heights) + _AXIS * len(heights)),
            facecolor=self.theme.paper,
            layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.03, hspace=0.03),
        )
        FigureCanvasAgg(figure)
        panels = figure.subplot_mosaic(
            [list(row) for row in rows], height_ratios=list(heights), width_ratios=None if widths is None else [*widths]
        )
        for axes in panels.values():
            self._style(axes)
        self._head(figure, key, columns)
        return figure, panels

    def panel(self, height: float, caption: str, *, key: Sequence[KeyEntry] = ()) -> tuple[Figure, Axes]:
        """A figure of one panel with a caption above it."""
        figure, panels = self.panels([["all"]], [height], key=key)
        self.caption(panels["all"], caption)
        return figure, panels["all"]

    def caption(self, axes: Axes, words: str) -> None:
        """Writes above a panel what its y axis shows."""
        axes.set_title(words, loc="left", color=self.theme.muted, size=FONT_SIZE, pad=8, parse_math=False)

    def right_scale(self, axes: Axes, factor: float, words: str) -> None:
        """Adds a scale on the right: `factor` times the left one."""
        scale = axes.secondary_yaxis(
            "right", functions=(lambda left: np.asarray(left) * factor, lambda right: np.asarray(right) / factor)
        )
        scale.tick_params(colors=self.theme.muted, labelsize=FONT_SIZE, length=0)
        scale.spines["right"].set_visible(False)
        axes.set_title(words, loc="right", color=self.theme.muted, size=FONT_SIZE, pad=8)

    def below(self, axes: Axes, words: str) -> None:
        """Writes below a panel what its x axis shows."""
        axes.set_xlabel(words, color=self.theme.muted, size=FONT_SIZE, labelpad=5, parse_math=False)

    def step_axis(self, axes: Axes, history: History, *, labelled: bool = True, share: float = 1.0) -> None:
        """Labels the x axis with steps and, below, the tokens seen; `share` is the panel's share of the width."""
        steps, tokens = history.step_numbers, history.tokens_seen
        place_ticks(axes, steps, self.width * share, integer=True)
        if not labelled:
            axes.tick_params(labelbottom=False)
            return
        ticks = axes.get_xticks()
        seen = np.interp(ticks, np.append(0, steps), np.append(0, tokens))
        labels = [f"{tick:,.0f}\n{human_count(count)}" for tick, count in zip(ticks, seen, strict=True)]
        axes.set_xticks(ticks, labels, linespacing=1.4)
        self._note(axes, "step\ntokens", (0, 0), (-8, -7), ha="right", va="top", linespacing=1.4, color="muted")

    def end_labels(self, axes: Axes, labels: Sequence[tuple[str, float, str]], inches: float) -> None:
        """Labels lines at their right end, kept apart: `(text, height, color)`; the panel is `inches` high."""
        low, high = axes.get_ylim()
        heights = spread([height for _, height, _ in labels], (high - low) * 0.19 / inches, low, high)
        for (text, _, color), height in zip(labels, heights, strict=True):
            self._note(axes, text, (1, height), (6, 0), xycoords=("axes fraction", "data"), color=color)

    def mark(self, axes: Axes, text: str, along: float, height: float) -> None:
        """Writes a number to the right of a point."""
        self._note(axes, text, (along, height), (5, 0), xycoords="data")

    def change(self, axes: Axes, along: float, text: str) -> None:
        """Marks where something changes on the way, with a few words at the top."""
        axes.axvline(along, color=self.theme.muted, linewidth=1.0, linestyle=(0, (4, 3)))
        low, high = axes.get_xlim()
        side, shift = ("left", 4) if along - low < 0.8 * (high - low) else ("right", -4)
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "top"}
        self._note(axes, text, (along, 1), (shift, -2), color="muted", **place)

    def under(self, axes: Axes, text: str) -> None:
        """Writes a line under a panel without ticks, left-aligned."""
        self._note(axes, text, (0, 0), (0, -6), va="top", color="muted")

    def notes(self, figure: Figure, lines: Sequence[str]) -> None:
        """Writes lines at the bottom of a figure, which grows by their height."""
        figure.set_figheight(figure.get_figheight() + _ROW * len(lines) + 0.1)
        figure.supxlabel("\n".join(lines), x=0.012, ha="left", size=FONT_SIZE, color=self.theme.muted, parse_math=False)

    def bars(self, axes: Axes, names: Sequence[str]) -> None:
        """Prepares a panel for horizontal bars, with a name to the left of each."""
        axes.set_yticks(range(len(names)), list(names))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.spines["left"].set_visible(True)
        axes.spines["left"].set_color(self.theme.muted)
        axes.set_xticks([])

    def _note(self, axes: Axes, text: str, place: Any, shift: tuple[float, float], **options: Any) -> None:
        color = options.pop("color", "ink")
        axes.annotate(
            text,
            place,
            xytext=shift,
            textcoords="offset points",
            size=FONT_SIZE,
            color=getattr(self.theme, color, color),
            annotation_clip=False,
            parse_math=False,
            **{"xycoords": "axes fraction", "va": "center", **options},
        )

    def _style(self, axes: Axes) -> None:
        axes.set_facecolor(self.theme.paper)
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(self.theme.muted)
        axes.tick_params(colors=self.theme.muted, labelsize=FONT_SIZE, length=0, pad=5)
        axes.tick_params(axis="x", pad=7)
        axes.grid(axis="y", color=self.theme.rule, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=_ROUND_STEPS))

    def _head(self, figure: Figure, key: Sequence[KeyEntry], columns: int) -> None:
        """Writes the title and the key at the top left."""
        title = None if self.title is None else shortened(self.title, _LONGEST_TITLE)
        size = FONT_SIZE + 1.5
        if not key:
            if title:
                figure.suptitle(
                    title, x=0.012, ha="left", weight="bold", size=size, color=self.theme.ink, parse_math=False
                )
            return
        legend = figure.legend(
            [_handle(entry) for entry in key],
            [shortened(entry.label) for entry in key],
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            labelcolor=[entry.color for entry in key],
            prop={"weight": "bold", "size": FONT_SIZE},
            title=title,
            title_fontproperties={"weight": "bold", "size": size},
            alignment="left",
            handlelength=1.6,
            columnspacing=1.6,
            borderpad=0.2,
        )
        legend.get_title().set_color(self.theme.ink)
        for text in (legend.get_title(), *legend.get_texts()):
            text.set_parse_math(False)

    def _key_columns(self, key: Sequence[KeyEntry]) -> int:
        longest = max((len(shortened(entry.label)) for entry in key), default=1)
        return max(1, min(len(key), int(self.width / (longest * _CHARACTER + 0.45))))


def legend_below(axes: Axes, key: Sequence[KeyEntry], columns: int) -> None:
    """Writes a key below a panel."""
    legend = axes.legend(
        [_handle(entry) for entry in key],
        [shortened(entry.label) for entry in key],
        loc="upper left",
        bbox_to_anchor=(0.0, -0.02),
        ncols=columns,
        frameon=False,
        labelcolor=[entry.color for entry in key],
        prop={"weight": "bold", "size": FONT_SIZE},
        handlelength=1.6,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def line_style(records: int, *, noisy: bool = False) -> dict[str, Any]:
    """The style of a line: with points if there are few records, thin if many are noisy."""
    return {
        "linewidth": 1.0 if noisy and records > 400 else 1.8,
        "marker": "o" if records <= 40 else "",
        "markersize": 3.5 if records > 1 else 6,
    }


def limit_from_zero(axes: Axes, largest: float) -> None:
    """Limits the y axis to 0 and the first round tick at or above `largest`."""
    ticks = MaxNLocator(nbins=5, steps=_ROUND_STEPS).tick_values(0, max(largest, 1e-9))
    axes.set_ylim(0, float(next((tick for tick in ticks if tick >= largest), ticks[-1])))


def room_around(values: FloatArray) -> tuple[float, float]:
    """Limits around the finite values, with a margin; 0 and 1 if there are none."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    room = 0.06 * (high - low)
    # Next to a large number a small room is no number of its own.
    room = room if low - room < low and high + room > high else 0.5 + abs(high) / 1000
    return low - room, high + room


def place_ticks(axes: Axes, values: FloatArray, inches: float, *, integer: bool = False) -> None:
    """Limits the x axis to `values` with a margin at both ends, and places round ticks."""
    low, high = float(values[0]), float(values[-1])
    room = 0.02 * (high - low) or 1.0
    axes.set_xlim(low - room, high + room)
    if high == low:
        axes.set_xticks([low])
        return
    steps = _ROUND_STEPS if integer else [1, 2, 2.5, 5, 10]
    ticks = MaxNLocator(nbins=max(2, int((inches - 1.3) / 0.8)), integer=integer, steps=steps).tick_values(low, high)
    axes.set_xticks([tick for tick in ticks if low - room <= tick <= high + room])


def power_axis(axes: Axes, low: int, high: int, *, factor: int, label: Callable[[int], str] = binary_count) -> None:
    """Makes the x axis logarithmic, from `low` to `high` with a margin, with a tick every `factor`."""
    axes.set_xscale("log", base=2)
    room = 1.25 if high > 64 * low else 1.12
    axes.set_xlim(low / room, max(high, 2 * low) * room)
    while math.log(high / low, factor) > 12:
        factor *= factor
    ticks = [low * factor**power for power in range(1 + int(math.log(high / low, factor) + 1e-9))]
    axes.set_xticks(ticks, [label(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def shortened(text: str, longest: int = LONGEST_NAME) -> str:
    """A name in one line; only the end of a long name is kept."""
    line = " ".join(visible_text(text).split())
    return line if len(line) <= longest else "…" + line[1 - longest :]


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file at twice the CSS resolution."""
    buffer = BytesIO()
    figure.dpi = CSS_PIXELS_PER_INCH * RESOLUTION
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a name in a script that the font lacks
        # Not `savefig`, which draws twice: once for the layout alone.
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _handle(entry: KeyEntry) -> Line2D:
    if entry.marker in ("-", "--"):
        return Line2D([], [], color=entry.color, linestyle=entry.marker, linewidth=2.0)
    return Line2D([], [], color=entry.color, marker=entry.marker, markersize=5, linestyle="")
