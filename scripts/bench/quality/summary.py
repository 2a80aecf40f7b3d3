"""What the comparison found, a row for each rival, as a table and a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from matplotlib.ticker import FuncFormatter
from rich import box
from rich.table import Table

from bench.quality.rivals import RIVALS, Settings
from revlm.report.pictures.canvas import Canvas, to_png
from revlm.report.pictures.picture import WIDE_INCHES
from revlm.report.pictures.theme import LIGHT
from revlm.text import ABSENT, human_count


@dataclass(frozen=True)
class Row:
    """Means over the seeds of one rival; `deviation` is that of bits per byte, None for one seed."""

    rival: str
    settings: Settings
    bits_per_byte: dict[int, float]
    deviation: float | None
    processor_seconds: float
    parameters: int
    tokens: float
    updates: float

    @property
    def mean(self) -> float:
        """The mean bits per byte."""
        return mean(self.bits_per_byte.values())

    def to_json(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        return {**vars(self), "settings": dict(self.settings), "mean": self.mean}


def rows(measured: Sequence[dict[str, Any]]) -> list[Row]:
    """Returns a row for each rival that was compared, in their order."""
    of_rivals: dict[str, list[dict[str, Any]]] = {}
    for each in measured:
        if each["phase"] == "comparison" and each["status"] == "done":
            of_rivals.setdefault(each["rival"], []).append(each)
    return [_row(rival, each) for rival, each in of_rivals.items()]


def table(found: Sequence[Row]) -> Table:
    """Returns the table of rows; differences are from the first."""
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("model", no_wrap=True)
    for name in ("bits/byte", "deviation", "difference", "seeds", "seconds", "weights", "tokens", "updates"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("settings")
    for row in found:
        shown.add_row(
            RIVALS[row.rival].label,
            f"{row.mean:.3f}",
            ABSENT if row.deviation is None else f"{row.deviation:.3f}",
            f"{_difference(row, found[0]):+.3f}",
            ", ".join(map(str, row.bits_per_byte)),
            f"{row.processor_seconds:.0f}",
            human_count(row.parameters),
            human_count(round(row.tokens)),
            f"{row.updates:,.0f}",
            ", ".join(f"{key} {value}" for key, value in row.settings.items()),
        )
    return shown


def picture(found: Sequence[Row], budget: str) -> bytes:
    """Returns a PNG of bits per byte: a point for each seed, and a bar at their mean."""
    canvas = Canvas(LIGHT, WIDE_INCHES, f"Held-out novels after {budget} each")
    figure, axes = canvas.panel(0.34 * len(found) + 0.3, "bits per byte, lower is better: seeds, and their mean")
    canvas.bars(axes, [RIVALS[row.rival].label for row in found])
    for place, row in enumerate(found):
        color = LIGHT.run_color(0 if RIVALS[row.rival].requires == "revlm" else 1)
        values = list(row.bits_per_byte.values())
        axes.plot(values, [place] * len(values), "o", color=color, markersize=4, alpha=0.6)
        axes.plot([row.mean] * 2, [place - 0.3, place + 0.3], color=color, linewidth=2.2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda bits, _: f"{bits:g}"))
    axes.set_xticks(_ticks([bits for row in found for bits in row.bits_per_byte.values()]))
    axes.grid(visible=True, axis="x", color=LIGHT.rule, linewidth=0.8)
    return to_png(figure)


def _row(rival: str, measured: Sequence[dict[str, Any]]) -> Row:
    bits = {each["seed"]: each["bits_per_byte"] for each in measured}
    return Row(
        rival,
        settings=measured[0]["settings"],
        bits_per_byte=bits,
        deviation=stdev(bits.values()) if len(bits) > 1 else None,
        processor_seconds=mean(each["processor_seconds"] for each in measured),
        parameters=measured[0]["parameters"],
        tokens=mean(each["trained_tokens"] for each in measured),
        updates=mean(each["updates"] for each in measured),
    )


def _difference(row: Row, first: Row) -> float:
    """The mean difference over the seeds that both have: which novels are held out depends on the seed."""
    both = row.bits_per_byte.keys() & first.bits_per_byte.keys()
    return mean(row.bits_per_byte[seed] - first.bits_per_byte[seed] for seed in both) if both else float("nan")


def _ticks(values: Sequence[float]) -> list[float]:
    """Tenths from below the least value to above the greatest."""
    return [tenth / 10 for tenth in range(int(min(values) * 10), int(max(values) * 10) + 2)]
