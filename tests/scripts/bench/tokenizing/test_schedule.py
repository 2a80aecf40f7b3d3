"""Memory first and untimed, then turns that alternate, the line last; what did not end is not started again."""

from pathlib import Path
from typing import Any

import pytest

from bench.tokenizing import schedule
from bench.tokenizing.ids import Ids
from bench.tokenizing.schedule import PLAIN, REVLM, Cell, Measurement, Suite, Text, measurements
from bench.watched import MemoryWatch

PLAIN_CELL = Cell(PLAIN, None, "corpus")
ONE, TWO, HALF, LINE = (
    Cell(REVLM, workers, text) for workers, text in ((1, "corpus"), (2, "corpus"), (2, "half"), (2, "line"))
)


def suite(tmp_path: Path, **changes: Any) -> Suite:
    values: dict[str, Any] = {
        "texts": {name: Text(tmp_path / name, 100) for name in ("corpus", "half", "line")},
        "tokenizer": tmp_path / "tokenizer.model",
        "workers": (1, 2),
        "repeats": 2,
        "seconds_limit": 60.0,
        "memory_limit_bytes": 2**30,
        "scratch": tmp_path,
    }
    return Suite(**{**values, **changes})


class Running:
    """Stands in for the processes; a command with one of the words in `failing` fails."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.commands: list[tuple[list[str], bool]] = []

    def __call__(
        self, command: list[str], *, seconds_limit: float, memory: MemoryWatch | None = None
    ) -> dict[str, Any]:
        self.commands.append((command, memory is not None))
        if any(Path(word).name in self.failing for word in command):
            return {"status": "failed", "cause": "exit code 3: no", "process_seconds": 1.0}
        if "bench.tokenizing.plain" in command:
            Path(command[-1]).write_text('{"encode_seconds": 0.5, "documents": {"a.txt": [7, "digest"]}}')
        return {"status": "done", "process_seconds": 2.0, **({"seen_peak_bytes": 10} if memory else {})}


def measure(monkeypatch: pytest.MonkeyPatch, running: Running, suite: Suite) -> list[Measurement]:
    monkeypatch.setattr(schedule, "run_watched", running)
    monkeypatch.setattr(schedule, "ids_of_store", lambda folder: {"a.txt": Ids(7, "digest")})
    return [event for event in measurements(suite) if isinstance(event, Measurement)]


def test_memory_comes_first_and_turns_alternate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = measure(monkeypatch, Running(), suite(tmp_path))
    turns = [PLAIN_CELL, ONE, TWO, HALF]
    assert [each.cell for each in measured] == [*turns, *turns, *reversed(turns), LINE]
    assert ["seen_peak_bytes" in each.result for each in measured] == [True] * 4 + [False] * 8 + [True]
    assert ["seconds" in each.result for each in measured] == [False] * 4 + [True] * 9
    assert {each.result["seconds"] for each in measured if "seconds" in each.result} == {0.5, 2.0}
    assert all(each.ids == {"a.txt": Ids(7, "digest")} for each in measured)


def test_each_gets_the_same_tokenizer_and_a_store_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running = Running()
    measure(monkeypatch, running, suite(tmp_path, repeats=1))
    commands = [command for command, _ in running.commands]
    assert all(str(tmp_path / "tokenizer.model") in command for command in commands)
    made = [command[command.index("-o") + 1] for command in commands if "-o" in command]
    assert len(set(made)) == len(made) == 7
    assert list(tmp_path.iterdir()) == []


def test_without_a_line_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = {name: Text(tmp_path / name, 100) for name in ("corpus", "half")}
    measured = measure(monkeypatch, Running(), suite(tmp_path, texts=texts, workers=(4,)))
    assert {each.cell.text for each in measured} == {"corpus", "half"}
    assert {each.cell.workers for each in measured} == {None, 4}


def test_what_fails_is_told_and_not_repeated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = measure(monkeypatch, Running("half"), suite(tmp_path))
    [failed] = [each for each in measured if each.result["status"] != "done"]
    assert failed.cell == HALF
    assert failed.ids == {}
    assert len([each for each in measured if each.cell == TWO]) == 3
