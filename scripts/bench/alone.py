"""Runs one measurement in a process of its own, within a limit of seconds and of resident memory."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

import revlm
from bench.worker import Task

# Between two looks at the resident memory of the process.
_LOOK_SECONDS = 0.1
# Where `bench` and the revlm that this process imported lie.
_FOLDERS = [str(Path(__file__).parent.parent), str(Path(revlm.__file__).parent.parent)]


def measure_alone(task: Task, *, seconds_limit: float, memory_limit_bytes: int) -> dict[str, Any]:
    """Returns what `bench.worker.measure` returns, with `status` "done".

    Otherwise `status` is "out_of_time", "out_of_memory" or "failed", and `cause` says more.
    """
    with tempfile.TemporaryDirectory() as folder:
        task_file, result_file, error_file = (Path(folder, name) for name in ("task", "result", "errors"))
        task_file.write_text(json.dumps(task.to_json()))
        command = [sys.executable, "-m", "bench.worker", str(task_file), str(result_file)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_FOLDERS)}
        load = os.getloadavg()[0]
        start = time.monotonic()
        with error_file.open("wb") as errors:
            process = subprocess.Popen(command, env=environment, stdout=errors, stderr=errors)
            stopped = _watch(process, start + seconds_limit, memory_limit_bytes)
        whole = {"process_seconds": time.monotonic() - start, "load_before": load}
        if stopped == "out_of_time":
            return {"status": stopped, "cause": f"not done in {seconds_limit:,.0f} s", **whole}
        if stopped == "out_of_memory":
            return {"status": stopped, "cause": f"more than {memory_limit_bytes / 1e9:.1f} GB resident", **whole}
        if process.returncode == -signal.SIGKILL:
            return {"status": "out_of_memory", "cause": "ended by the system, which had no memory left", **whole}
        if result_file.is_file():
            return {**json.loads(result_file.read_text()), **whole}
        last = error_file.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
        return {"status": "failed", "cause": f"exit code {process.returncode}: {last[0]}", **whole}


def _watch(process: "subprocess.Popen[bytes]", deadline: float, memory_limit_bytes: int) -> str | None:
    """Returns when the process has ended; with the reason where it had to be ended."""
    seen = psutil.Process(process.pid)
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                return "out_of_time"
            if _resident_bytes(seen) > memory_limit_bytes:
                return "out_of_memory"
            time.sleep(_LOOK_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    return None


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
