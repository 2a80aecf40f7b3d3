"""`revlm train`, sent a signal wherever it is: exit code 75, a checkpoint, and the same weights after the next run."""

import pytest

from revlm.cli.terminal.signals import SIGNALS
from revlm.runs import list_checkpoints, read_journal, verify_checkpoint
from tests.faults import forks
from tests.faults.forks import Copies
from tests.faults.points import PLACES
from tests.faults.training import TRAIN, assert_undisturbed, outcome

CALLS = {"loading": 5, "forward": 5, "backward": 5, "update": 3, "evaluation": 7, "sampling": 2, "saving": 4}
"""Which call of a place, where not the first: in the midst of a step, of the evaluation after step 3, of a save."""
MAX_SECONDS = 30.0


@pytest.fixture(scope="module")
def expected(copies: Copies) -> dict:
    undisturbed = copies.make("undisturbed")
    assert forks.run(undisturbed, *TRAIN).code == 0
    return outcome(undisturbed)


QUICK = {("SIGTERM", place) for place in PLACES} | {("SIGINT", "backward"), ("SIGUSR1", "sampling")}
ALL = [(each.name, place) for each in SIGNALS for place in PLACES]


@pytest.mark.parametrize(
    ("name", "place"), [pytest.param(*each, marks=[] if each in QUICK else pytest.mark.slow) for each in ALL]
)
def test_a_signal_saves_the_run(copies: Copies, expected: dict, name: str, place: str) -> None:
    here = copies.make(f"{name} {place}")
    fault = {"name": name, "place": place, "call": CALLS.get(place, 1)}
    stopped = forks.run(here, *TRAIN, signal=fault)
    assert stopped.code == 75, stopped.stderr
    notice, sentence = stopped.stderr.splitlines()[-2:]
    assert f"{name}: stopping after this example" in stopped.stderr
    assert sentence.startswith(f"revlm: stopped by {name}"), notice
    assert sentence.endswith("run the same command again to resume")
    assert stopped.signal_seconds is not None
    assert stopped.signal_seconds < MAX_SECONDS
    # The loader's thread sends its signal while the main thread may be about to begin.
    assert stopped.examples_begun == 0 or (place == "loading" and stopped.examples_begun == 1)
    if place != "opening":  # before there is anything to save
        assert verify_checkpoint(list_checkpoints(here / "run")[-1]) == []
    if place in {"evaluation", "sampling"}:  # it was left, not finished first
        assert "evaluate" not in {record["event"] for record in read_journal(here / "run" / "metrics.jsonl")}
    assert forks.run(here, *TRAIN).code == 0
    assert_undisturbed(outcome(here), expected, here)
