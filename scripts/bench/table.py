"""Formats rows as tables for the terminal."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from bench.summary import Row
from bench.systems import SYSTEMS
from revlm.text import ABSENT, human_bytes

# The last two pairs: how many times faster, and smaller at its peak, revlm is: in its faster precision, then in the
# row's precision.
_COLUMNS = (
    "runs",
    "forward\ns",
    "backward\ns",
    "optimizer\ns",
    "tokens/s",
    "peak",
    "beyond\nimports",
    "beyond\nmodel",
    "speed,\nbest",
    "speed,\nsame",
    "memory,\nbest",
    "memory,\nsame",
)
CAPTION = (
    "peak: resident memory; beyond model: without the built model, gradients and optimizer state; speed and memory: "
    "how many times as fast and as small revlm is, in its faster precision and in the same one"
)


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    """Yields one table per length and depth."""
    for tokens, layers in dict.fromkeys((row.cell.tokens, row.cell.layers) for row in rows):
        table = Table(title=f"{tokens:,} tokens, {layers} layers", box=box.SIMPLE_HEAD, title_justify="left")
        table.add_column("system", no_wrap=True)
        table.add_column("precision", no_wrap=True)
        for name in _COLUMNS:
            table.add_column(name, justify="right", no_wrap=True)
        for row in rows:
            if (row.cell.tokens, row.cell.layers) == (tokens, layers):
                table.add_row(SYSTEMS[row.cell.system].label, row.cell.precision, *_figures(row))
        yield table


def undone(rows: Sequence[Row]) -> list[str]:
    """Returns a sentence for each row without numbers."""
    return [
        f"{SYSTEMS[row.cell.system].label}, {row.cell.precision}, {row.cell.tokens:,} tokens, {row.cell.layers} layers:"
        f" {row.why}"
        for row in rows
        if row.why is not None
    ]


def _figures(row: Row) -> list[str]:
    seconds = (row.forward_seconds, row.backward_seconds, row.optimizer_seconds)
    memory = (row.peak_bytes, row.beyond_baseline_bytes, row.working_bytes)
    ratios = (
        row.speed_ratio,
        row.same_precision_speed_ratio,
        row.memory_ratio,
        row.same_precision_memory_ratio,
    )
    if row.status != "done":
        return [str(row.repetitions), row.status.replace("_", " ")]
    return [
        str(row.repetitions),
        *(ABSENT if value is None else f"{value:,.2f}" for value in seconds),
        ABSENT if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}",
        *(human_bytes(value) for value in memory),
        *(ABSENT if value is None else f"{value:.2f}x" for value in ratios),
    ]
