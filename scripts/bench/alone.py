"""Runs one measurement in a separate process, within limits of seconds and of resident memory."""

import json
import tempfile
from pathlib import Path
from typing import Any, Protocol

from bench.watched import MemoryWatch, resident_bytes, run_watched
from revlm.imports import python_module

# Between two samples of the process's resident memory.
_SAMPLE_SECONDS = 0.1


class Task(Protocol):
    """The task of a worker."""

    def to_json(self) -> dict[str, Any]:
        """Returns the task as plain values."""


def measure_alone(
    task: Task, *, seconds_limit: float, memory_limit_bytes: int, worker: str = "bench.worker"
) -> dict[str, Any]:
    """Returns the result of `measure` in the module `worker`, with `status` "done".

    Otherwise `status` is "out_of_time", "out_of_memory" or "failed", and `cause` gives the reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        task_file, result_file = Path(folder, "task"), Path(folder, "result")
        task_file.write_text(json.dumps(task.to_json()))
        ended = run_watched(
            python_module(worker, task_file, result_file),
            seconds_limit=seconds_limit,
            memory=MemoryWatch(resident_bytes, _SAMPLE_SECONDS, memory_limit_bytes),
        )
        return {**ended, **json.loads(result_file.read_text())} if ended["status"] == "done" else ended
