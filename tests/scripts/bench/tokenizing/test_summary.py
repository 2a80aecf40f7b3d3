"""Rows hold medians of what was timed and the highest memory seen, and say what differs and what did not end."""

from typing import Any

from bench.tokenizing.ids import Ids
from bench.tokenizing.schedule import PLAIN, REVLM, Cell, Measurement, Text
from bench.tokenizing.summary import Row, growth, rows
from bench.tokenizing.table import sentences, table

TEXTS: Any = {"corpus": Text("corpus", 10_000_000), "half": Text("half", 5_000_000), "line": Text("line", 2_000_000)}
IDS = {"a.txt": Ids(3, "a"), "b.txt": Ids(4, "b")}
PLAIN_CELL, TWO, HALF = Cell(PLAIN, None, "corpus"), Cell(REVLM, 2, "corpus"), Cell(REVLM, 2, "half")


def done(cell: Cell, seconds: float | None, peak: int | None = None, ids: Any = IDS) -> Measurement:
    figures = {"seconds": seconds, "seen_peak_bytes": peak}
    return Measurement(cell, {"status": "done", **{key: x for key, x in figures.items() if x is not None}}, ids)


def row(cell: Cell, all_rows: list[Row]) -> Row:
    [found] = [each for each in all_rows if each.cell == cell]
    return found


def test_medians_peaks_and_speed_beside_plain() -> None:
    measured = [done(PLAIN_CELL, None, 70), done(TWO, None, 90)]
    measured += [done(PLAIN_CELL, seconds) for seconds in (9.0, 8.0, 2.0)]
    measured += [done(TWO, seconds) for seconds in (4.0, 1.0, 6.0)]
    two = row(TWO, rows(measured, TEXTS))
    assert (two.seconds, two.repetitions, two.peak_bytes, two.speed_ratio) == (4.0, 3, 90, 2.0)
    assert (two.megabytes_per_second, two.documents, two.tokens, two.other_ids) == (2.5, 2, 7, ())
    plain = row(PLAIN_CELL, rows(measured, TEXTS))
    assert (plain.seconds, plain.peak_bytes, plain.speed_ratio, plain.other_ids) == (8.0, 70, None, None)


def test_one_repetition_with_other_ids_is_enough_to_name_a_document() -> None:
    other = {**IDS, "b.txt": Ids(4, "other")}
    found = rows([done(PLAIN_CELL, 1.0), done(TWO, 1.0), done(TWO, 1.0, ids=other), done(TWO, 1.0)], TEXTS)
    assert row(TWO, found).other_ids == ("b.txt",)
    assert list(sentences(found)) == [
        "revlm, 2 workers, the corpus: ids differ from plain SentencePiece in b.txt",
    ]
    assert table(found).row_count == 2


def test_growth_is_that_of_the_same_workers() -> None:
    found = rows([done(Cell(REVLM, 1, "corpus"), 9.0), done(TWO, 6.0), done(HALF, 3.0)], TEXTS)
    assert growth(found) == {"bytes_ratio": 2.0, "seconds_ratio": 2.0}
    assert list(sentences(found)) == ["2.00 times the bytes take 2.00 times the time"]
    assert growth(found[:2]) is None
    assert row(HALF, found).speed_ratio is row(HALF, found).other_ids is None


def test_what_did_not_end_is_said_and_has_no_figures() -> None:
    cause = "more than 1.0 GB resident"
    found = rows([Measurement(Cell(REVLM, 2, "line"), {"status": "out_of_memory", "cause": cause})], TEXTS)
    assert (found[0].seconds, found[0].peak_bytes, found[0].repetitions) == (None, None, 0)
    assert list(sentences(found)) == ["revlm, 2 workers, one line: more than 1.0 GB resident"]
    assert found[0].to_json()["why"] == cause
