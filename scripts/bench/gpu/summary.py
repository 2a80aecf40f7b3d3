"""Results as a text table and as pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.gpu.schedule import Cell
from bench.systems import SYSTEMS
from revlm.imports import inside

_HEAD = ("system", "tokens", "tokens/s", "s/step", "allocated", "reserved", "utilization")
_ABSENT = "-"


class Row(NamedTuple):
    """A cell and its numbers: peak memory in bytes, utilization of the GPU's rate of large products."""

    cell: Cell
    status: str
    cause: str | None
    seconds: float | None
    allocated_bytes: int | None
    reserved_bytes: int | None
    utilization: float | None

    @property
    def tokens_per_second(self) -> float | None:
        """The example's tokens divided by the seconds of a step."""
        return self.cell.tokens / self.seconds if self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        values = {**self._asdict(), **self.cell._asdict(), "tokens_per_second": self.tokens_per_second}
        return {key: value for key, value in values.items() if key != "cell"}


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as lines of text, followed by a sentence for each missing measurement."""
    lines = [_HEAD, *(_words(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    text = [
        "  ".join(
            word.ljust(width) if column == 0 else word.rjust(width)
            for column, (word, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    causes = [f"{SYSTEMS[row.cell.system].label}, {row.cell.tokens:,} tokens: {row.cause}" for row in rows if row.cause]
    return "\n".join([*text, *causes])


def write_pictures(folder: Path, rows: Sequence[Row], device_name: str) -> list[Path]:
    """Writes gpu-speed.png and gpu-memory.png. Raises ImportError without matplotlib."""
    with inside(Path(__file__).parent):  # matplotlib obeys a matplotlibrc where it is imported
        from matplotlib.figure import Figure

    def draw(name: str, title: str, label: str, value: Callable[[Row], float | None]) -> Path:
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = figure.add_subplot(title=f"{title}, {device_name}", xlabel="tokens", ylabel=label)
        for system in dict.fromkeys(row.cell.system for row in rows):
            own = [(row.cell.tokens, value(row)) for row in rows if row.cell.system == system]
            points = [(tokens, height) for tokens, height in own if height is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=SYSTEMS[system].label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        lengths = sorted({row.cell.tokens for row in rows})
        axes.set_xticks(lengths, [f"{tokens:,}" for tokens in lengths])
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
        figure.savefig(folder / name, dpi=160)
        return folder / name

    return [
        draw("gpu-speed.png", "One step", "tokens per second", lambda row: row.tokens_per_second),
        draw("gpu-memory.png", "Peak of memory allocated", "GB", _gigabytes),
    ]


def _gigabytes(row: Row) -> float | None:
    return None if row.allocated_bytes is None else row.allocated_bytes / 1e9


def _words(row: Row) -> tuple[str, ...]:
    size = [_ABSENT if each is None else f"{each / 1e9:,.2f} GB" for each in (row.allocated_bytes, row.reserved_bytes)]
    if row.seconds is None:
        return (SYSTEMS[row.cell.system].label, f"{row.cell.tokens:,}", row.status.replace("_", " "), *[_ABSENT] * 4)
    return (
        SYSTEMS[row.cell.system].label,
        f"{row.cell.tokens:,}",
        f"{row.tokens_per_second:,.0f}",
        f"{row.seconds:,.3f}",
        *size,
        _ABSENT if row.utilization is None else f"{row.utilization:.1%}",
    )
