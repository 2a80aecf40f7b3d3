"""Formats rows as a table and sentences for the terminal."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from bench.tokenizing.schedule import Cell
from bench.tokenizing.summary import Row, growth
from revlm.text import ABSENT, figure_text, human_bytes, plural

_TEXTS = {"corpus": "the corpus", "half": "its first half", "line": "one line"}
_COLUMNS = ("bytes", "documents", "tokens", "runs", "seconds", "MB/s", "speed", "peak of all\nprocesses", "same ids")
CAPTION = (
    "seconds: of encoding alone for plain SentencePiece, of the whole command for revlm; speed: relative to plain "
    "SentencePiece; peak: sum of the proportional set sizes of all processes, from a separate untimed run (one line: "
    "from the same run)"
)


def name_of(cell: Cell) -> str:
    """Returns the label of a cell."""
    who = "plain SentencePiece" if cell.workers is None else f"revlm, {plural(cell.workers, 'worker')}"
    return f"{who}, {_TEXTS[cell.text]}"


def table(rows: Sequence[Row]) -> Table:
    """Returns the table of all rows."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("tokenizing", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            name_of(row.cell),
            human_bytes(row.bytes),
            f"{row.documents:,}",
            f"{row.tokens:,}",
            str(row.repetitions),
            figure_text(row.seconds, ",.1f"),
            figure_text(row.megabytes_per_second, ",.2f"),
            ABSENT if row.speed_ratio is None else f"{row.speed_ratio:.2f}x",
            human_bytes(row.peak_bytes),
            _same(row),
        )
    return table


def sentences(rows: Sequence[Row]) -> Iterator[str]:
    """Yields sentences with the growth of time, the documents whose ids differ, and the reason for missing numbers."""
    grown = growth(rows)
    if grown is not None:
        yield f"{grown['bytes_ratio']:.2f} times the bytes take {grown['seconds_ratio']:.2f} times the time"
    for row in rows:
        if row.other_ids:
            yield f"{name_of(row.cell)}: ids differ from plain SentencePiece in {', '.join(row.other_ids)}"
        if row.why is not None:
            yield f"{name_of(row.cell)}: {row.why}"


def _same(row: Row) -> str:
    if row.other_ids is None:
        return ABSENT
    return "all" if not row.other_ids else f"all but {len(row.other_ids)}"
