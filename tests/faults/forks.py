"""The command line, run again and again in forks, which takes no time for imports, with a fault in each."""

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIG_DFL, SIGHUP
from signal import signal as set_signal
from typing import Any

from revlm.corpus.store import spool
from tests.faults.points import KillAt, SignalAt
from tests.several import command, in_fork


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        code: the exit code, or less than 0 the signal that ended it.
        stderr: what it said.
        seconds: how long it took; None where it was killed, as all below.
        points: how many points of its writing it passed, where they were counted.
        signal_seconds, examples_begun: from the signal that it was sent to the end: the time, and the micro-batches.
    """

    code: int
    stderr: str
    seconds: float | None = None
    points: int | None = None
    signal_seconds: float | None = None
    examples_begun: int | None = None


def run(
    folder: Path,
    *arguments: object,
    kill_at: int | None = None,
    count_points: bool = False,
    kill_after_seconds: float | None = None,
    signal: Mapping[str, Any] | None = None,
) -> Ended:
    """Runs `revlm` with the arguments in a folder; the faults are those of `points`."""
    point = -1 if count_points and kill_at is None else kill_at
    work = partial(_run, folder, [str(argument) for argument in arguments], point, signal)
    ended = in_fork(work, kill_after_seconds=kill_after_seconds)
    return Ended(**{"code": ended.code, "stderr": ended.stderr, **(ended.value or {})})


def killed_at_points(copies: "Copies", step: int, *arguments: object) -> Iterator[tuple[Path, str]]:
    """Yields a copy of the folder where the command came to its end, and what it said.

    Then, for every `step`-th point, one where it was killed there.
    """
    undisturbed = copies.make("undisturbed")
    ended = run(undisturbed, *arguments, count_points=True)
    assert ended.code == 0, ended.stderr
    assert ended.points
    yield undisturbed, ended.stderr
    for point in range(0, ended.points, step):
        copy = copies.make(f"point {point}")
        killed = run(copy, *arguments, kill_at=point)
        assert killed.code == -9, f"point {point} was not reached: {killed}"
        yield copy, killed.stderr


def _run(folder: Path, arguments: list[str], point: int | None, signal: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is known of a run of the command line that came to its end."""
    spool.COMMIT_BYTES = 1  # tokenizing writes every document down by itself
    kill = None if point is None else KillAt(point)
    set_signal(SIGHUP, SIG_DFL)  # ignored where `nohup` started the tests
    sent = SignalAt(**signal) if signal else None
    began = time.monotonic()
    code = command(folder, *arguments)
    seen = {"code": code, "seconds": time.monotonic() - began, "points": kill and kill.passed}
    if sent:
        seen |= {"signal_seconds": sent.seconds, "examples_begun": sent.examples_begun}
    return seen


class Copies:
    """Copies of a folder beside each other, each of which is made anew."""

    def __init__(self, original: Path, place: Path) -> None:
        self._original, self._place = original, place
        place.mkdir()

    def make(self, name: str) -> Path:
        """Returns a new copy."""
        return Path(shutil.copytree(self._original, self._place / name))
