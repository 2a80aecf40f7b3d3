"""The measurements as rows, a table and sentences."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from bench.generating.systems import SYSTEMS
from bench.generating.worker import Task
from revlm.text import human_bytes

_BASE, _PEER = "revlm", "transformers"
_COLUMNS = ("context", "prefill\ns", "prefill\npeak", "cache", "ms per\ntoken", "tokens/s")
CAPTION = (
    "prefill: seconds for the whole context, and the peak of resident memory beyond that before it; tokens/s: sampled "
    "and decoded one at a time after the context, medians of stretches interleaved between contexts"
)


class Row(NamedTuple):
    """One context of one system, in seconds and bytes."""

    system: str
    precision: str
    context: int
    prefill_seconds: float
    prefill_bytes: int
    cache_bytes: int
    token_seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens sampled and decoded per second."""
        return 1 / self.token_seconds


def rows(measured: Sequence[tuple[Task, dict[str, Any]]]) -> list[Row]:
    """Returns the rows of all measurements."""
    return [
        Row(
            task.system,
            task.precision,
            each["context"],
            each["prefill_seconds"],
            each["prefill_bytes"],
            each["cache_bytes"],
            each["token_seconds"],
        )
        for task, result in measured
        if result["status"] == "done"
        for each in result["contexts"]
    ]


def table(results: Sequence[Row]) -> Table:
    """Returns the table of all rows."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("system", "precision"):
        table.add_column(name, no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in results:
        table.add_row(
            SYSTEMS[row.system].label,
            row.precision,
            f"{row.context:,}",
            f"{row.prefill_seconds:,.1f}",
            human_bytes(row.prefill_bytes),
            human_bytes(row.cache_bytes),
            f"{1e3 * row.token_seconds:,.2f}",
            f"{row.tokens_per_second:,.1f}",
        )
    return table


def ratios(results: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Returns, for each precision, the ratios of revlm's slowest to fastest context and of its speed to the peer's."""
    found: dict[str, dict[str, float]] = {}
    for precision in dict.fromkeys(row.precision for row in results):
        own = {row.context: row.tokens_per_second for row in results if row[:2] == (_BASE, precision)}
        of_precision = {"slowest_of_fastest": min(own.values()) / max(own.values())} if own else {}
        for row in results:
            if row[:2] == (_PEER, precision) and row.context in own:
                of_precision[f"times_the_peer_at_{row.context}"] = own[row.context] / row.tokens_per_second
        found[precision] = of_precision
    return found


def sentences(results: Sequence[Row], measured: Sequence[tuple[Task, dict[str, Any]]]) -> Iterator[str]:
    """Yields sentences with the ratios, and with the reason for each missing measurement."""
    for precision, of_precision in ratios(results).items():
        for name, ratio in of_precision.items():
            if name == "slowest_of_fastest":
                yield f"{precision}: the slowest context has {ratio:.2f} of the tokens/s of the fastest"
            else:
                context = int(name.rpartition("_")[2])
                yield f"{precision}: {ratio:.1f} times the tokens/s of {SYSTEMS[_PEER].label} at {context:,} tokens"
    for task, result in measured:
        if result["status"] != "done":
            yield f"{SYSTEMS[task.system].label}, {task.precision}: {result['cause']}"
