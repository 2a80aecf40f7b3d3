"""A failure of a rank that shares an example, while the others wait for it, ends all of them with its name."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from revlm.runs import list_checkpoints
from tests.faults.forks import Copies
from tests.faults.test_faults_of_ranks import QUICK, run, said, start
from tests.faults.training import assert_undisturbed, outcome
from tests.several import ends_of_ranks

SHARED = (QUICK, "train.sequence_parallel=2", "evaluate.every=0")
SECONDS = 60.0


@pytest.fixture(scope="module")
def expected(copies: Copies) -> dict[str, Any]:
    undisturbed = copies.make("undisturbed")
    assert [each.code for each in run(undisturbed, *SHARED)] == [0, 0]
    return outcome(undisturbed)


def at(place: str, call: int, act: Callable[[], None]) -> None:
    """Lets something happen at the n-th call of what a rank does inside of a pass."""
    from revlm.model.kinds.lsh import HashAttention
    from revlm.model.tiles import SublayerPass

    owner, name = {"forward": (HashAttention, "forward"), "backward": (SublayerPass, "_backward_of_read")}[place]
    original, calls = getattr(owner, name), iter(range(1, 10**6))

    def called(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            act()
        return original(*arguments, **options)

    setattr(owner, name, called)


def fail() -> None:
    raise ValueError("a bug")


def run_out() -> None:
    raise MemoryError


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """Hangs as a whole, and is killed only once the other has noticed."""
    subprocess.Popen(["sh", "-c", f"sleep 25; kill -KILL {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)


def impatient(act: Callable[[], None] = lambda: None) -> None:
    """Waits seconds instead of most of a minute."""
    from revlm.training.ranks import waiting

    waiting._SILENT_SECONDS = 6.0
    waiting._EXCHANGE_SECONDS = 4.0
    waiting._EXCHANGE_PER_COMPUTATION = 0
    act()


@pytest.mark.parametrize(
    ("place", "act", "code", "sentence"),
    [
        ("forward", fail, 1, "revlm: rank 1: unexpected ValueError (a bug)"),
        pytest.param("backward", fail, 1, "revlm: rank 1: unexpected ValueError (a bug)", marks=pytest.mark.slow),
        pytest.param("forward", run_out, 4, "revlm: rank 1: out of memory with ", marks=pytest.mark.slow),
    ],
)
def test_an_error_inside_a_pass_ends_both_and_is_said_once(
    copies: Copies, place: str, act: Callable[[], None], code: int, sentence: str
) -> None:
    start = time.monotonic()
    ended = run(copies.make(f"{place} {act.__name__}"), *SHARED, before=partial(at, place, 7, act))
    assert [each.code for each in ended] == [code, code], ended
    [found] = said(ended)
    assert found.startswith(sentence)
    assert time.monotonic() - start < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("place", ["forward", "backward"])
def test_a_kill_inside_a_pass_is_noticed_and_the_same_command_goes_on(
    copies: Copies, expected: dict[str, Any], place: str
) -> None:
    here, start = copies.make(f"{place} kill"), time.monotonic()
    ended = run(here, *SHARED, before=partial(at, place, 15, kill))
    assert time.monotonic() - start < SECONDS
    assert [each.code for each in ended] == [1, -signal.SIGKILL], ended
    [sentence] = said(ended)
    assert sentence.startswith("revlm: rank 1 of the 2 ranks of this run has ended or does not respond (")
    assert list_checkpoints(here / "run")
    assert [each.code for each in run(here, *SHARED)] == [0, 0]
    assert_undisturbed(outcome(here), expected, here)


@pytest.mark.slow
def test_a_kill_while_a_checkpoint_is_saved_is_noticed(copies: Copies, expected: dict[str, Any]) -> None:
    from tests.faults.points import SignalAt

    here = copies.make("saving kill")
    ended = run(here, *SHARED, rank=0, before=partial(SignalAt, "SIGKILL", "saving", 4))
    assert [each.code for each in ended] == [-signal.SIGKILL, 1], ended
    assert said(ended)[0].startswith("revlm: rank 1: rank 0 of the 2 ranks of this run has ended or does not respond (")
    assert [each.code for each in run(here, *SHARED)] == [0, 0]
    assert_undisturbed(outcome(here), expected, here)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "cause"),
    [
        (partial(time.sleep, 20), "the others have waited 4 s for its part of an example"),
        (stop, "no report for 6 s"),
    ],
    ids=["slow", "stopped"],
)
def test_a_rank_that_is_far_behind_or_hangs_is_named(copies: Copies, act: Callable[[], None], cause: str) -> None:
    here = copies.make(f"late {cause[:2]}")
    befores = [impatient, partial(impatient, partial(at, "forward", 9, act))]
    if act is stop:
        befores = [partial(wait_for_ever, before) for before in befores]
    ended = run(here, *SHARED, befores=befores)
    assert ended[0].code == 1, ended
    assert said(ended[:1]) == [
        f"revlm: rank 1 of the 2 ranks of this run has ended or does not respond ({cause}): its last message tells "
        "why; run the same command again to resume from the newest checkpoint"
    ]
    assert [each.code for each in run(here, *SHARED)] == [0, 0]


def wait_for_ever(before: Callable[[], None]) -> None:
    """Waits for a rank that is slow: only whether it reports counts."""
    before()
    from revlm.training.ranks import waiting

    waiting._EXCHANGE_SECONDS = 1000.0


@pytest.mark.slow
def test_four_ranks_end_where_one_of_a_group_fails(copies: Copies) -> None:
    ended = run(copies.make("four"), *SHARED, ranks=4, rank=2, before=partial(at, "forward", 3, fail))
    assert [each.code for each in ended] == [1] * 4, ended
    assert said(ended) == [line for line in said(ended) if line.startswith("revlm: rank 2: unexpected ValueError")]


def test_ranks_that_want_groups_of_other_sizes_are_refused_once(copies: Copies) -> None:
    here = copies.make("sizes")
    ended = ends_of_ranks(2, start, [(here, (f"train.sequence_parallel={rank + 1}",), None) for rank in range(2)])
    assert [each.code or each.value for each in ended] == [2, 2]
    assert said(ended) == ["revlm: the ranks differ in train.sequence_parallel (1, 2): give every rank the same recipe"]


def test_groups_that_do_not_fit_are_refused_once(copies: Copies) -> None:
    here = copies.make("refused")
    ended = run(here, QUICK, "train.sequence_parallel=4", "model.n_heads=4", "model.d_model=16")
    assert [each.code for each in ended] == [2, 2]
    [sentence] = said(ended)
    assert "train.sequence_parallel is 4, and the number of ranks is 2: start a multiple of 4 ranks" in sentence
    assert not Path(here / "run").exists()
