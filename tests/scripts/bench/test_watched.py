"""A command is ended at its limits with all that it started, and memory is that of all its processes, counted once."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.watched import MemoryWatch, resident_bytes, run_watched, tree_bytes
from revlm.imports import python_module

HELD_BYTES = 100_000_000
# Holds memory, and so does a second process: the same pages, or as many of its own.
SHARED = f"""
import os, time
held = bytearray({HELD_BYTES})
if os.fork() == 0:
    time.sleep(1)
    os._exit(0)
os.wait()
"""
APART = f"""
import subprocess, sys
code = "import time; held = bytearray({HELD_BYTES}); time.sleep(1)"
held = bytearray({HELD_BYTES})
subprocess.run([sys.executable, "-c", code], check=True)
"""


def peak_bytes(code: str) -> int:
    ended = run_watched([sys.executable, "-c", code], seconds_limit=60, memory=MemoryWatch(tree_bytes, 0.05, 2**40))
    assert ended["status"] == "done", ended
    return ended["seen_peak_bytes"]


@pytest.mark.parametrize(("code", "times"), [(SHARED, 1), (APART, 2)])
def test_what_processes_share_counts_once_and_what_each_holds_for_each(code: str, times: int) -> None:
    assert times * HELD_BYTES <= peak_bytes(code) < (times + 0.5) * HELD_BYTES


def test_the_seconds_are_those_of_the_process() -> None:
    ended = run_watched([sys.executable, "-c", "import time; time.sleep(0.5)"], seconds_limit=60)
    assert ended["status"] == "done"
    assert ended["process_seconds"] >= 0.5
    assert "seen_peak_bytes" not in ended


def test_the_cause_of_a_failure_is_its_last_word(tmp_path: Path) -> None:
    ended = run_watched(python_module("revlm", "tokenize", tmp_path / "nothing"), seconds_limit=60)
    assert ended["status"] == "failed"
    assert ended["cause"].startswith("exit code 3: ")
    assert "cannot be opened" in ended["cause"]


@pytest.mark.parametrize(
    ("seconds_limit", "memory", "status"),
    [
        (1.0, None, "out_of_time"),
        (60.0, MemoryWatch(resident_bytes, 0.05, 0), "out_of_memory"),
    ],
)
def test_nothing_outlives_its_limits(
    tmp_path: Path, seconds_limit: float, memory: MemoryWatch | None, status: str
) -> None:
    note = tmp_path / "child"
    code = f"""
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(note)!r}).write_text(str(child.pid))
child.wait()
"""
    if memory is not None:  # not before there is something below it
        memory = memory._replace(memory_of=lambda process: note.exists() and note.read_text() != "")
    ended = run_watched([sys.executable, "-c", code], seconds_limit=seconds_limit, memory=memory)
    assert ended["status"] == status
    for _ in range(100):
        if not psutil.pid_exists(int(note.read_text())):
            break
        time.sleep(0.05)
    assert not psutil.pid_exists(int(note.read_text())) or psutil.Process(int(note.read_text())).status() == "zombie"
