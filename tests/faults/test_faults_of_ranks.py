"""A failure or a signal on one of several ranks ends all of them with one message, and the same command resumes."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from revlm.runs import list_checkpoints, read_journal
from tests.faults.forks import Copies
from tests.faults.points import SignalAt
from tests.faults.training import TRAIN, assert_undisturbed, outcome
from tests.several import Ended, command, ends_of_ranks

QUICK = "evaluate.prompts=[]"


@pytest.fixture(scope="module")
def expected(copies: Copies) -> dict[str, Any]:
    undisturbed = copies.make("undisturbed")
    assert [each.code for each in run(undisturbed)] == [0, 0]
    return outcome(undisturbed)


def run(
    folder: Path,
    *overrides: str,
    rank: int = 1,
    before: Callable[[], object] | None = None,
    ranks: int = 2,
    befores: Sequence[Callable[[], object]] = (),
) -> list[Ended]:
    """How the ranks of `revlm train` ended, one of which (or each, with `befores`) did something else before."""
    acts = befores or [before if each == rank else None for each in range(ranks)]
    ended = ends_of_ranks(ranks, start, [(folder, overrides, act) for act in acts])
    # A process that was not killed gives its exit code to its parent.
    return [Ended(each.code or each.value, each.value, each.stderr) for each in ended]


def start(folder: Path, overrides: tuple[str, ...], before: Callable[[], object] | None) -> int:
    return command(folder, *TRAIN, QUICK, *overrides, before=before)


def said(ended: list[Ended]) -> list[str]:
    return [line for each in ended for line in each.stderr.splitlines() if line.startswith("revlm: ")]


def send_signal() -> None:
    SignalAt("SIGTERM", "backward", 5)


def send_signal_before_a_forward_pass() -> None:
    """In the second step, in whose first one ranks tell each other how gradients are packed."""
    from revlm.training.optimization import Schedule

    rate = Schedule.learning_rate

    def signalled(schedule: Schedule, step: int) -> float:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return rate(schedule, step)

    Schedule.learning_rate = signalled


def kill() -> None:
    SignalAt("SIGKILL", "forward", 8)


def run_out_of_memory() -> None:
    from revlm.model import RevLM

    def fail(*rest: Any, **options: Any) -> None:
        raise MemoryError

    RevLM.forward = fail  # type: ignore[method-assign]


def make_not_finite() -> None:
    from revlm.model import RevLM

    loss = RevLM.loss
    RevLM.loss = lambda *rest: loss(*rest) * float("inf")  # type: ignore[method-assign]


def test_a_signal_to_one_rank_stops_all_at_the_same_step(copies: Copies, expected: dict[str, Any]) -> None:
    here = copies.make("signal")
    ended = run(here, before=send_signal)
    assert [each.code for each in ended] == [75, 75]
    [sentence] = said(ended)
    assert sentence.startswith("revlm: stopped by SIGTERM on rank 1; run is saved at step 5 of 6: ")
    assert [path.name for path in list_checkpoints(here / "run")] == ["step-00000004", "step-00000005"]
    assert [each.code for each in run(here)] == [0, 0]
    assert_undisturbed(outcome(here), expected, here)


def test_a_signal_right_before_a_forward_pass_leaves_no_rank_waiting(copies: Copies) -> None:
    here = copies.make("before forward")
    ended = run(here, before=send_signal_before_a_forward_pass)
    assert [each.code for each in ended] == [75, 75]
    assert "saved at step 1 of 6" in said(ended)[0]


def test_a_kill_of_one_rank_ends_the_other_with_what_to_do(copies: Copies, expected: dict[str, Any]) -> None:
    here = copies.make("kill")
    ended = run(here, before=kill)
    assert [each.code for each in ended] == [1, -signal.SIGKILL]
    [sentence] = said(ended)
    assert "rank 1 of the 2 ranks of this run has ended or does not respond" in sentence
    assert sentence.endswith("run the same command again to resume from the newest checkpoint")
    assert [each.code for each in run(here)] == [0, 0]
    assert_undisturbed(outcome(here), expected, here)


def test_memory_that_runs_out_on_one_rank_ends_both_and_is_explained_there(copies: Copies) -> None:
    ended = run(copies.make("memory"), before=run_out_of_memory)
    assert [each.code for each in ended] == [4, 4]
    [sentence] = said(ended)
    assert sentence.startswith("revlm: rank 1: out of memory with ")


def test_what_is_not_finite_on_one_rank_is_passed_over_on_both_or_ends_both(copies: Copies) -> None:
    here = copies.make("not finite")
    ended = run(here, "train.on_nonfinite=skip", "train.max_skipped=2", before=make_not_finite)
    assert [each.code for each in ended] == [5, 5]
    [sentence] = said(ended)
    assert sentence.startswith("revlm: the loss of step 3 is not finite on ")
    assert "after 2 skipped steps" in sentence
    records = [each for each in read_journal(here / "run" / "metrics.jsonl") if each["event"] == "step"]
    assert [each["skipped"] for each in records] == ["the loss is not finite"] * 2


def test_too_many_ranks_are_said_once(copies: Copies) -> None:
    ended = run(copies.make("three"), ranks=3)
    assert [each.code for each in ended] == [2, 2, 2]
    [sentence] = said(ended)
    assert "set it to 3 or more" in sentence


def test_ranks_with_other_recipes_are_refused(copies: Copies) -> None:
    here = copies.make("recipes")
    ended = ends_of_ranks(2, start, [(here, (f"optimizer.lr=1e-{rank + 2}",), None) for rank in range(2)])
    assert [each.code or each.value for each in ended] == [2, 2]
    [sentence] = said(ended)
    assert "rank 1 differs from rank 0 (optimizer.lr: 0.01 -> 0.001)" in sentence
    assert not (here / "run").exists()


def test_a_full_disk_of_the_rank_that_writes_ends_both(copies: Copies) -> None:
    here = copies.make("disk")
    (here / "run").write_text("no folder")
    ended = run(here)
    assert [each.code for each in ended] == [6, 6]
    assert len(said(ended)) == 1


def test_only_the_first_rank_speaks(copies: Copies) -> None:
    first, second = run(copies.make("speaking"))
    assert "step       6/6" in first.stderr
    assert second.stderr == ""


def test_a_dry_run_of_several_writes_nothing(copies: Copies) -> None:
    here = copies.make("dry")
    before = sorted(os.listdir(here))
    assert [each.code for each in run(here, "--dry-run")] == [0, 0]
    assert sorted(os.listdir(here)) == before
