"""Runs a command within limits of seconds and memory, and samples the memory of its processes."""

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

# The folders of `bench` and of the revlm that this process imported.
_FOLDERS = [str(Path(__file__).parent.parent), str(Path(revlm.__file__).parent.parent)]


class MemoryWatch(NamedTuple):
    """How, and how often, the memory of a process is sampled, and the bytes beyond which it is killed."""

    memory_of: Callable[[psutil.Process], int]
    every_seconds: float
    limit_bytes: int


def run_watched(command: Sequence[str], *, seconds_limit: float, memory: MemoryWatch | None = None) -> dict[str, Any]:
    """Returns `status` "done", or "out_of_time", "out_of_memory" or "failed" and the `cause`.

    The result also has `process_seconds` from the process's start to its end, the machine's load before it and, where
    memory is sampled, `seen_peak_bytes`. The command can import `bench` and the same revlm. If it is killed, so are all
    its descendants.
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
            return {"status": "out_of_memory", "cause": "killed by the system, which ran out of memory", **whole}
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
    """Returns the memory of a process and its descendants: the sum of their proportional set sizes.

    A shared page counts once in that sum; in the sum of resident sizes it would count for each process, in that of
    unique sizes not at all. A sample takes a few milliseconds per gigabyte.

    Raises:
        ResourceError: the system does not report them.
    """
    total = 0
    for each in _tree(process):
        try:
            memory = each.memory_full_info()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if not hasattr(memory, "pss"):
            raise ResourceError("this system does not report how processes share memory: measure on Linux")
        total += memory.pss
    return total


def _watch(process: "subprocess.Popen[bytes]", deadline: float, memory: MemoryWatch | None) -> tuple[str | None, int]:
    """Waits for the process; returns the reason if it was killed, and the highest sampled memory."""
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
