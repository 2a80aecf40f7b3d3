"""Runs the command line in children that are killed (SIGKILL) at one point of their writing after another.

    python killing.py FOLDER STEP [ARGUMENT]...

For every STEP-th point FOLDER/before is copied to FOLDER/<point>, where the command is run and killed, then run again
to its end; the output says how many points there are. A point is a moment right before or right after one of the
calls that change what is on the disk. A token store that is there before must be there, whole, after each kill. A
child is a fork, so nothing is imported twice.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

# Imported before the forks, for speed.
import datasets  # noqa: F401
import datasketch  # noqa: F401

from revlm.cli import main
from revlm.corpus import spool
from revlm.corpus.store import is_store

WRITING = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "ftruncate", "write")


def kill_at(point: int) -> Callable[[], int]:
    """Lets this process kill itself at a point, counted from 0; returns what says how many points it has passed."""
    passed = 0

    def reach() -> None:
        nonlocal passed
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def around(*arguments: Any, **options: Any) -> Any:
            reach()
            result = call(*arguments, **options)
            reach()
            return result

        return around

    for name in WRITING:
        setattr(os, name, watched(getattr(os, name)))
    return lambda: passed


def run(folder: Path, arguments: list[str], point: int, counted: int = -1) -> int:
    """Runs the command in a child in `folder`; returns how it ended, as os.waitpid says it."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    os.chdir(folder)
    spool.COMMIT_BYTES = 1  # every document is written down by itself
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    passed = kill_at(point)
    code = main(arguments)
    if counted >= 0:
        (folder / "points").write_text(str(passed()))
    os._exit(code)


def visit(folder: Path, step: int, arguments: list[str]) -> int:
    """Returns the number of points; raises where a run does not end as it should."""
    before, whole = folder / "before", folder / "undisturbed"
    stores = [path.name for path in before.iterdir() if is_store(path)]
    shutil.copytree(before, whole)
    if run(whole, arguments, -1, counted=0) != 0:
        raise SystemExit("the undisturbed run failed")
    points = int((whole / "points").read_text())
    (whole / "points").unlink()
    for point in range(0, points, step):
        here = folder / f"{point:04d}"
        shutil.copytree(before, here)
        status = run(here, arguments, point)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            raise SystemExit(f"point {point} was not reached: {status}")
        for name in stores:
            if not any(is_store(here / place) for place in (name, f".{name}.previous")):
                raise SystemExit(f"after a kill at point {point} the store {name} is lost")
        if run(here, arguments, -1) != 0:
            raise SystemExit(f"the command did not end well after a kill at point {point}")
    return points


if __name__ == "__main__":
    print(visit(Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:]))
