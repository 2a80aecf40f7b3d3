"""`draw_overview.py` draws what was measured, and says what did not end."""

import json
from pathlib import Path

import pytest

from bench.overview import overview
from draw_overview import main

MEASURED = Path(__file__).parent.parent.parent / "data" / "measured"


def rows(name: str) -> list[dict]:
    return json.loads((MEASURED / name).read_text())["rows"]


def test_it_draws_every_system_and_the_longer_lengths() -> None:
    figure = overview(rows("peers.json"), rows("long.json"))
    time, memory, depth = figure.axes
    assert len(time.get_lines()) == len(memory.get_lines()) == 5
    revlm = next(line for line in memory.get_lines() if line.get_label() == "revlm")
    assert list(revlm.get_xdata()) == [16384, 65536, 262144, 524288]
    assert revlm.get_ydata()[1] == pytest.approx(0.989, abs=0.001)
    assert [len(line.get_xdata()) for line in depth.get_lines()] == [3, 2]
    assert any("22.7 GB" in text.get_text() for text in depth.texts)


def test_it_writes_a_png(tmp_path: Path) -> None:
    main(MEASURED / "peers.json", MEASURED / "long.json", tmp_path / "overview.png")
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")
