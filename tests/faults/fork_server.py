"""Runs the command line in forks of a process that has imported everything once; see `forks.Forks`, which starts it.

Each line of standard input is a request, each line of standard output its answer, as JSON. Before the forks nothing may
have been computed with torch: a pool of threads does not survive a fork.
"""

import json
import os
import signal
import sys
import tempfile
import time
from typing import Any

# Imported before the forks, for speed.
import datasets  # noqa: F401
import datasketch  # noqa: F401
import torch

import revlm.cli.terminal.display
import revlm.cli.train
import revlm.report.files
import revlm.training  # noqa: F401
from revlm.cli import main
from revlm.corpus.store import spool
from tests.faults.points import KillAt, SignalAt


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Runs a request in a child and returns how it ended: its exit code, or less than 0 the signal."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as report:
        child = os.fork()
        if child == 0:
            try:
                os._exit(run(request, said.fileno(), report))
            finally:
                os._exit(99)
        if (seconds := request.get("kill_after_seconds")) is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in (said, report):
            file.seek(0)
        return {"code": code, "stderr": said.read(), **json.loads(report.read() or "{}")}


def run(request: dict[str, Any], said: int, report: Any) -> int:
    os.chdir(request["folder"])
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(said, 2)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where `nohup` started the tests
    spool.COMMIT_BYTES = 1  # tokenizing writes every document down by itself
    began = time.monotonic()
    kill = KillAt(-1 if request["kill_at"] is None else request["kill_at"]) if request["points"] else None
    sent = SignalAt(**request["signal"]) if request["signal"] else None
    code = main(request["arguments"])
    sys.stderr.flush()
    seen = {"seconds": time.monotonic() - began, "points": kill and kill.passed}
    if sent:
        seen |= {"signal_seconds": sent.seconds, "examples_begun": sent.examples_begun}
    json.dump(seen, report)
    report.flush()
    return code


if __name__ == "__main__":
    assert torch.get_num_threads() == 1
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
