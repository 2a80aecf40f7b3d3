"""Measurements as rows: one per system, number of workers and text, with medians."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.tokenizing.ids import differing
from bench.tokenizing.schedule import PLAIN, Cell, Measurement, Text, TextName


@dataclass(frozen=True)
class Row:
    """Medians of the timed repetitions and the highest sampled memory; where missing, None and the reason (`why`).

    `seconds` are those of encoding alone for plain SentencePiece, and of the whole process for revlm. `speed_ratio` is
    the speed relative to plain SentencePiece on the same text. `other_ids` are the documents whose ids differ from
    plain SentencePiece's in any repetition.
    """

    cell: Cell
    bytes: int
    repetitions: int
    seconds: float | None
    peak_bytes: int | None
    speed_ratio: float | None
    documents: int
    tokens: int
    other_ids: tuple[str, ...] | None
    why: str | None

    @property
    def megabytes_per_second(self) -> float | None:
        """Millions of bytes of text per second."""
        return self.bytes / self.seconds / 1e6 if self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        figures = {key: value for key, value in vars(self).items() if key != "cell"}
        return {**self.cell._asdict(), **figures, "megabytes_per_second": self.megabytes_per_second}


def rows(measurements: Iterable[Measurement], texts: Mapping[TextName, Text]) -> list[Row]:
    """Returns the rows in the order of their first measurement."""
    by_cell: dict[Cell, list[Measurement]] = {}
    for measurement in measurements:
        by_cell.setdefault(measurement.cell, []).append(measurement)
    return [_row(cell, own, by_cell.get(Cell(PLAIN, None, cell.text), []), texts) for cell, own in by_cell.items()]


def growth(rows: Sequence[Row]) -> dict[str, float] | None:
    """Returns the ratios of the whole corpus to half of it, in bytes and in seconds, with the same workers."""
    half = next((row for row in rows if row.cell.text == "half"), None)
    whole = next((row for row in rows if half is not None and row.cell == half.cell._replace(text="corpus")), None)
    if half is None or whole is None or not half.seconds or not whole.seconds:
        return None
    return {"bytes_ratio": whole.bytes / half.bytes, "seconds_ratio": whole.seconds / half.seconds}


def _row(cell: Cell, own: Sequence[Measurement], plain: Sequence[Measurement], texts: Mapping[TextName, Text]) -> Row:
    seconds, base = _seconds(own), _seconds(plain)
    expected = next((each.ids for each in plain if each.ids), None)
    done = [each for each in own if each.result["status"] == "done"]
    other_ids = None
    if expected is not None and cell.system != PLAIN and done:
        other_ids = tuple(sorted({name for each in done for name in differing(expected, each.ids)}))
    peaks = [each.result["seen_peak_bytes"] for each in done if "seen_peak_bytes" in each.result]
    ids = done[-1].ids if done else {}
    return Row(
        cell,
        texts[cell.text].bytes,
        repetitions=sum("seconds" in each.result for each in done),
        seconds=seconds,
        peak_bytes=max(peaks, default=None),
        speed_ratio=base / seconds if base and seconds and cell.system != PLAIN else None,
        documents=len(ids),
        tokens=sum(each.tokens for each in ids.values()),
        other_ids=other_ids,
        why=next((each.result["cause"] for each in own if each.result["status"] != "done"), None),
    )


def _seconds(measurements: Sequence[Measurement]) -> float | None:
    timed = [each.result["seconds"] for each in measurements if "seconds" in each.result]
    return median(timed) if timed else None
