"""What all pictures are drawn on: sizes, axes, keys and labels.

Pictures are built on `Figure` objects and drawn with Agg; there is no pyplot and no global state. Lengths are
inches at 100 CSS pixels an inch, drawn at twice that resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from revlm.report.history import FloatArray, History
from revlm.report.series import spread
from revlm.report.theme import Theme
from revlm.report.units import human_count

CSS_PIXELS_PER_INCH = 100
RESOLUTION = 2
FONT_SIZE = 9.0  # points: 12.5 CSS pixels
ROW = 0.22  # inches from one line of text to the next
ROUND_STEPS = [1, 2, 5, 10]
POINTS_PER_INCH = 72


class KeyEntry(NamedTuple):
    """A coloured word of the key; `marker` is drawn before it: `-` a line, `--` dashes, `D` a diamond, `s` a square."""

    label: str
    color: str
    marker: Literal["-", "--", "D", "s"] = "-"


@dataclass(frozen=True)
class Canvas:
    """Where a picture is drawn: its theme, its width in inches, and a title where it stands alone."""

    theme: Theme
    width: float = 8.6
    title: str | None = None

    @property
    def narrow(self) -> bool:
        """Whether the picture is for a phone, where panels stand below each other."""
        return self.width < 5

    def figure(self, height: float) -> Figure:
        """An empty figure, `height` inches tall."""
        figure = Figure(figsize=(self.width, height), facecolor=self.theme.paper)
        FigureCanvasAgg(figure)
        return figure

    def head(self, figure: Figure, key: Sequence[KeyEntry] = ()) -> None:
        """Writes the title and the key, line by line from the top left, over `head_height` inches."""
        top = 0.1
        if self.title:
            self.write(figure, 0.1, top, self.title, weight="bold", size=FONT_SIZE + 1.5)
            top += ROW + 0.06
        self.key(figure, top, key)

    def head_height(self, key: Sequence[KeyEntry] = ()) -> float:
        """The inches that the title and the key take at the top."""
        return 0.1 + (ROW + 0.06 if self.title else 0) + self.key_height(key)

    def key(self, figure: Figure, top: float, key: Sequence[KeyEntry]) -> None:
        """Writes a key, line by line from `top` inches below the top of the figure, over `key_height` inches."""
        for line in self._key_lines(key):
            left = 0.1
            for entry in line:
                self._key_marker(figure, left, top, entry)
                self.write(figure, left + 0.28, top, entry.label, color=entry.color, weight="bold")
                left += _entry_width(entry)
            top += ROW

    def key_height(self, key: Sequence[KeyEntry]) -> float:
        """The inches that a key takes."""
        return ROW * len(self._key_lines(key))

    def panel(self, figure: Figure, left: float, top: float, width: float, height: float, caption: str) -> Axes:
        """Axes at a place in inches from the top left, with a caption above them, not a turned label."""
        total = figure.get_figheight()
        axes = figure.add_axes(
            (left / self.width, 1 - (top + height) / total, width / self.width, height / total),
            facecolor=self.theme.paper,
        )
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(self.theme.muted)
        axes.tick_params(colors=self.theme.muted, labelsize=FONT_SIZE, length=0, pad=5)
        axes.tick_params(axis="x", pad=7)
        axes.grid(axis="y", color=self.theme.rule, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=ROUND_STEPS))
        self.write(figure, left - 0.5, top - ROW - 0.08, caption, color=self.theme.muted)
        return axes

    def write(
        self,
        figure: Figure,
        left: float,
        top: float,
        text: str,
        *,
        color: str | None = None,
        align: str = "left",
        weight: str = "normal",
        size: float = FONT_SIZE,
    ) -> None:
        """Writes text whose line starts `top` inches below the top of the figure."""
        figure.text(
            left / self.width,
            1 - (top + 0.5 * ROW) / figure.get_figheight(),
            plain(text),
            color=color or self.theme.ink,
            ha=align,
            va="center",
            weight=weight,
            size=size,
        )

    def step_axis(self, axes: Axes, history: History, *, labelled: bool = True) -> None:
        """Marks steps below the axes and, in a second line, the tokens seen by then."""
        steps, tokens = history.step_numbers, history.running_sum("tokens")
        place_ticks(axes, steps, integer=True)
        if not labelled:
            axes.tick_params(labelbottom=False)
            return
        ticks = axes.get_xticks()
        with_tokens = bool(np.isfinite(tokens).all())
        labels = [f"{tick:,.0f}" for tick in ticks]
        if with_tokens:
            seen = np.interp(ticks, np.append(0, steps), np.append(0, tokens))
            labels = [f"{label}\n{human_count(count)}" for label, count in zip(labels, seen, strict=True)]
        axes.set_xticks(ticks, labels, linespacing=1.4)
        axes.annotate(
            "step\ntokens" if with_tokens else "step",
            (0, 0),
            xytext=(-8, -7),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            va="top",
            size=FONT_SIZE,
            color=self.theme.muted,
            linespacing=1.4,
        )

    def end_labels(self, axes: Axes, labels: Sequence[tuple[str, float, str]]) -> None:
        """Labels right of the axes, kept apart, for lines that end there: `(text, height, color)`."""
        low, high = axes.get_ylim()
        inches = axes.bbox.height / axes.figure.dpi
        gap = (high - low) * 0.19 / inches
        heights = spread([height for _, height, _ in labels], gap, low, high)
        for (text, _, color), height in zip(labels, heights, strict=True):
            axes.annotate(
                plain(text),
                (1, height),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                size=FONT_SIZE,
                color=color,
                annotation_clip=False,
            )

    def mark(self, axes: Axes, text: str, along: float, height: float) -> None:
        """Writes a number right of a point of the axes."""
        axes.annotate(
            plain(text),
            (along, height),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            size=FONT_SIZE,
            color=self.theme.ink,
            annotation_clip=False,
        )

    def _key_lines(self, key: Sequence[KeyEntry]) -> list[list[KeyEntry]]:
        lines: list[list[KeyEntry]] = []
        left = np.inf
        for entry in key:
            if left + _entry_width(entry) > self.width + 0.1:
                lines.append([])
                left = 0.1
            lines[-1].append(entry)
            left += _entry_width(entry)
        return lines

    def _key_marker(self, figure: Figure, left: float, top: float, entry: KeyEntry) -> None:
        height = 1 - (top + 0.5 * ROW) / figure.get_figheight()
        if entry.marker == "-" or entry.marker == "--":
            ends = (left / self.width, (left + 0.2) / self.width)
            line = Line2D(ends, (height, height), color=entry.color, linestyle=entry.marker, linewidth=2.0)
        else:
            middle = (left + 0.1) / self.width
            line = Line2D([middle], [height], color=entry.color, marker=entry.marker, markersize=5, linestyle="")
        figure.add_artist(line)


def line_style(records: int, *, noisy: bool = False) -> dict[str, Any]:
    """A line with points where there are few records, a single one above all; thin where many are noisy."""
    return {
        "linewidth": 1.0 if noisy and records > 400 else 1.8,
        "marker": "o" if records <= 40 else "",
        "markersize": 3.5 if records > 1 else 6,
    }


def limit_from_zero(axes: Axes, largest: float) -> None:
    """Limits the y axis to 0 and the first round tick at or above `largest`."""
    ticks = MaxNLocator(nbins=5, steps=ROUND_STEPS).tick_values(0, largest)
    axes.set_ylim(0, float(next((tick for tick in ticks if tick >= largest), ticks[-1])))


def place_ticks(axes: Axes, values: FloatArray, *, integer: bool = False) -> None:
    """Limits the x axis to `values` with a little room at both ends, and puts round ticks between them."""
    low, high = float(values[0]), float(values[-1])
    room = 0.02 * (high - low) or 1.0
    axes.set_xlim(low - room, high + room)
    if high == low:
        axes.set_xticks([low])
        return
    inches = axes.bbox.width / axes.figure.dpi
    bins = max(2, int(inches / 0.8))
    ticks = MaxNLocator(nbins=bins, integer=integer, steps=ROUND_STEPS if integer else [1, 2, 2.5, 5, 10]).tick_values(
        low, high
    )
    axes.set_xticks([tick for tick in ticks if low - room <= tick <= high + room])


def plain(text: str) -> str:
    """Text that is drawn as it stands: a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file at twice the CSS resolution."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=CSS_PIXELS_PER_INCH * RESOLUTION, facecolor=figure.get_facecolor())
    return buffer.getvalue()


@lru_cache(maxsize=1024)
def text_width(text: str, size: float = FONT_SIZE, weight: str = "normal") -> float:
    """The inches that a line of text takes."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), plain(text), size=size, prop=FontProperties(weight=weight))
    return float(path.get_extents().width) / POINTS_PER_INCH


def _entry_width(entry: KeyEntry) -> float:
    return 0.28 + text_width(entry.label, weight="bold") + 0.25
