"""Runs one measurement in a process of its own, within a limit of seconds and of resident memory."""

import json
import tempfile
from pathlib import Path
from typing import Any

from bench.watched import MemoryWatch, python, resident_bytes, run_watched
from bench.worker import Task

# Between two looks at the resident memory of the process.
_LOOK_SECONDS = 0.1


def measure_alone(task: Task, *, seconds_limit: float, memory_limit_bytes: int) -> dict[str, Any]:
    """Returns what `bench.worker.measure` returns, with `status` "done".

    Otherwise `status` is "out_of_time", "out_of_memory" or "failed", and `cause` says more.
    """
    with tempfile.TemporaryDirectory() as folder:
        task_file, result_file = Path(folder, "task"), Path(folder, "result")
        task_file.write_text(json.dumps(task.to_json()))
        ended = run_watched(
            python("bench.worker", task_file, result_file),
            seconds_limit=seconds_limit,
            memory=MemoryWatch(resident_bytes, _LOOK_SECONDS, memory_limit_bytes),
        )
        return {**ended, **json.loads(result_file.read_text())} if ended["status"] == "done" else ended
