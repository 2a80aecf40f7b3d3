"""Runs a command within a limit of seconds and of memory, and looks at the memory that its processes take."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

import revlm
from revlm.errors import ResourceError

# Where `bench` and the revlm that this process imported lie.
_FOLDERS = [str(Path(__file__).parent.parent), str(Path(revlm.__file__).parent.parent)]


class MemoryWatch(NamedTuple):
    """How the memory of a process is looked at, how often, and the bytes beyond which the process is ended."""

    memory_of: Callable[[psutil.Process], int]
    every_seconds: float
    limit_bytes: int


def run_watched(command: Sequence[str], *, seconds_limit: float, memory: MemoryWatch | None = None) -> dict[str, Any]:
    """Returns `status` "done", or "out_of_time", "out_of_memory" or "failed" and the `cause`.

    Besides, `process_seconds` from the start of the process to its end, the load of the machine before it, and, where
    its memory is watched, `seen_peak_bytes`. The command finds `bench` and the same revlm; where it has to be ended, so
    are all processes below it.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_FOLDERS)}
    with tempfile.TemporaryFile() as errors:
        load = os.getloadavg()[0]
        start = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        stopped, peak_bytes = _watch(process, start + seconds_limit, memory)
        whole = {"process_seconds": time.monotonic() - start, "load_before": load}
        if memory is not None:
            whole["seen_peak_bytes"] = peak_bytes
        if stopped == "out_of_time":
            return {"status": stopped, "cause": f"not done in {seconds_limit:,.0f} s", **whole}
        if stopped == "out_of_memory" and memory is not None:
            return {"status": stopped, "cause": f"more than {memory.limit_bytes / 1e9:.1f} GB resident", **whole}
        if process.returncode == -signal.SIGKILL:
            return {"status": "out_of_memory", "cause": "ended by the system, which had no memory left", **whole}
        if process.returncode == 0:
            return {"status": "done", **whole}
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        return {"status": "failed", "cause": f"exit code {process.returncode}: {last[0]}", **whole}


def resident_bytes(process: psutil.Process) -> int:
    """Returns the resident memory of one process; 0 where it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def tree_bytes(process: psutil.Process) -> int:
    """Returns the memory of a process and all below it: the sum of their proportional set sizes.

    A page that several of them hold counts once in that sum, where the sum of resident sizes would count it for each,
    and that of unique sizes not at all. A look takes some milliseconds a gigabyte.

    Raises:
        ResourceError: the system does not tell them.
    """
    total = 0
    for each in _tree(process):
        try:
            memory = each.memory_full_info()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if not hasattr(memory, "pss"):
            raise ResourceError("this system does not tell how processes share memory: measure on Linux")
        total += memory.pss
    return total


def _watch(process: "subprocess.Popen[bytes]", deadline: float, memory: MemoryWatch | None) -> tuple[str | None, int]:
    """Returns when the process has ended: the reason where it had to be ended, and the most memory that was seen."""
    seen, peak_bytes = psutil.Process(process.pid), 0
    try:
        while (left := deadline - time.monotonic()) > 0:
            if memory is not None:
                peak_bytes = max(peak_bytes, memory.memory_of(seen))
                if peak_bytes > memory.limit_bytes:
                    return "out_of_memory", peak_bytes
            with suppress(subprocess.TimeoutExpired):
                process.wait(left if memory is None else min(left, memory.every_seconds))
                return None, peak_bytes
        return "out_of_time", peak_bytes
    finally:
        if process.poll() is None:
            for each in _tree(seen):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        process.wait()


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
