import sys
from typing import get_args

import pytest

from revlm.errors import UsageError
from revlm.recipe import LoggingBackend
from revlm.records import Samples, read_journal
from revlm.runs import require_trackers
from revlm.runs.trackers import Shown
from revlm.runs.trackers.table import TRACKERS, TRACKIO_REMOTE
from revlm.runs.trackers.tracker import last_whole_step


class InMemory:
    """Keeps what it is given in a list that outlives it, and fails where it is told to."""

    kept: list[Shown]
    fails_at: int

    def __init__(self, folder, recipe, step):
        last_step = max((record.step for record in self.kept), default=0)
        self.held_step = last_whole_step(last_step, step)
        self.kept[:] = [record for record in self.kept if record.step <= self.held_step]

    def write(self, records):
        for record in records:
            if record.step == self.fails_at:
                raise OSError("disk full\nsecond line")
            self.kept.append(record)

    def close(self):
        raise RuntimeError("close")


@pytest.fixture
def memory():
    return type("Memory", (InMemory,), {"kept": [], "fails_at": -1})


@pytest.fixture
def broken():
    return type("Broken", (InMemory,), {"kept": [], "fails_at": 3})


def shown(records) -> list[tuple[str, int]]:
    return [(getattr(record, "event", "samples"), record.step) for record in records]


def whole(until: int) -> list[tuple[str, int]]:
    """The events of an undisturbed run, in their order."""
    events = []
    for step in range(1, until + 1):
        events += [("step", step)] + ([("evaluate", step), ("samples", step)] if step % 2 == 0 else [])
    return events


def test_the_table_has_every_word_of_the_recipe():
    assert set(TRACKERS) == set(get_args(LoggingBackend)) - {"console", "jsonl"}


def test_trackers_take_the_records_of_the_journal_and_the_samples(run_with, memory):
    run = run_with(memory)
    run.go_on(0, 4)
    assert [record for record in memory.kept if not isinstance(record, Samples)] == list(
        read_journal(run.folder.metrics)
    )
    assert shown(memory.kept) == whole(4)


@pytest.mark.parametrize("checkpoint", range(6))
def test_a_killed_run_writes_no_step_twice(run_with, memory, checkpoint):
    run = run_with(memory)
    run.go_on(0, 5)
    run.go_on(checkpoint, 7)
    assert shown(memory.kept) == whole(7)
    assert run.messages == []


@pytest.mark.parametrize("lost", range(1, 10))
def test_what_a_tracker_lacks_is_written_from_the_journal(run_with, memory, lost):
    run = run_with(memory)
    run.go_on(0, 6)
    del memory.kept[-lost:]
    run.go_on(6, 7)
    assert shown(memory.kept) == whole(7)


def test_a_tracker_that_fails_is_reported_once_and_disabled_and_the_others_continue(run_with, memory, broken):
    run = run_with(broken, memory)
    run.go_on(0, 6)
    assert shown(memory.kept) == whole(6)
    assert shown(broken.kept) == whole(2)
    [message] = run.messages
    assert message.startswith("broken failed (OSError: disk full) and is disabled")
    broken.fails_at = -1
    run.go_on(6, 7)
    assert shown(broken.kept) == whole(7)


def test_a_tracker_that_cannot_be_opened_or_closed_is_left_out(run_with, memory):
    class Closed(InMemory):
        def __init__(self, folder, recipe, step):
            raise PermissionError("no")

    run = run_with(Closed, memory)
    run.go_on(0, 2)
    assert shown(memory.kept) == whole(2)
    assert len(run.messages) == 1
    assert "PermissionError" in run.messages[0]


@pytest.mark.parametrize("word", TRACKERS)
def test_a_missing_extra_is_one_sentence_with_the_remedy(monkeypatch, word):
    monkeypatch.delitem(sys.modules, f"revlm.runs.trackers.{word}", raising=False)
    for name in {word, *(name for name in sys.modules if name.startswith(f"{word}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError) as refused:
        require_trackers(["console", "jsonl", word])
    assert f"pip install 'revlm[{word}]'" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", TRACKIO_REMOTE)
def test_trackio_is_refused_where_it_would_leave_the_machine(monkeypatch, name):
    monkeypatch.setenv(name, "somewhere")
    with pytest.raises(UsageError, match=f"unset {name}"):
        require_trackers(["trackio"])


def test_console_and_journal_need_no_tracker():
    assert require_trackers(["console", "jsonl"]) == {}
