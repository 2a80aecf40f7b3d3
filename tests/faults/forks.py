"""The command line, run again and again in forks, which takes no time for imports, with a fault in each."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]


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


class Forks:
    """A process that forks for each run; a context manager, which ends it."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.faults.fork_server"]
        self._server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()

    def run(
        self,
        folder: Path,
        *arguments: object,
        kill_at: int | None = None,
        count_points: bool = False,
        kill_after_seconds: float | None = None,
        signal: Mapping[str, Any] | None = None,
    ) -> Ended:
        """Runs `revlm` with the arguments in a folder; the faults are those of `points`."""
        assert self._server.stdin
        assert self._server.stdout
        request = {
            "folder": str(folder),
            "arguments": [str(argument) for argument in arguments],
            "kill_at": kill_at,
            "points": count_points or kill_at is not None,
            "kill_after_seconds": kill_after_seconds,
            "signal": signal,
        }
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return Ended(**json.loads(self._server.stdout.readline()))

    def killed_at_points(self, copies: "Copies", step: int, *arguments: object) -> Iterator[tuple[Path, str]]:
        """Yields a copy of the folder where the command came to its end, and what it said.

        Then, for every `step`-th point, one where it was killed there.
        """
        undisturbed = copies.make("undisturbed")
        ended = self.run(undisturbed, *arguments, count_points=True)
        assert ended.code == 0, ended.stderr
        assert ended.points
        yield undisturbed, ended.stderr
        for point in range(0, ended.points, step):
            copy = copies.make(f"point {point}")
            killed = self.run(copy, *arguments, kill_at=point)
            assert killed.code == -9, f"point {point} was not reached: {killed}"
            yield copy, killed.stderr


class Copies:
    """Copies of a folder beside each other, each of which is made anew."""

    def __init__(self, original: Path, place: Path) -> None:
        self._original, self._place = original, place
        place.mkdir()

    def make(self, name: str) -> Path:
        """Returns a new copy."""
        return Path(shutil.copytree(self._original, self._place / name))
