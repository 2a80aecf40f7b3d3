"""Work in processes of its own: the ranks of a run, as torchrun starts them, or one command line."""

import multiprocessing
import os
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from revlm.cli import main

_SECONDS = 300.0
_PRELOADED = [
    "datasets",
    "datasketch",
    "revlm.training",
    "revlm.cli.train",
    "revlm.cli.terminal.display",
    "revlm.report.files",
    "tests.several",
    "tests.faults.forks",
    # What a run or a test imports when it first needs it: each fork would do so again.
    "psutil",
    "pytest",
    "safetensors.torch",
    "revlm.cli.terminal.signals",
    "revlm.ops.fixed_point.compiled",
    "revlm.ops.normalization.compiled",
    "revlm.ops.output_gradient.compiled",
    "revlm.ops.squared_relu.compiled",
    "tests.before_forks",
]


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or less than 0 the signal; what it gave; and what it said."""

    code: int
    value: Any
    stderr: str


def on_ranks(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function of a module gives on each rank; one that fails is a failure here."""
    ended = ends_of_ranks(count, work, [arguments] * count)
    for each in ended:
        assert each.code == 0, each.stderr
    return [each.value for each in ended]


def ends_of_ranks(count: int, work: Callable[..., Any], arguments: Sequence[Sequence[Any]]) -> list[Ended]:
    """How the ranks ended, each of which called the function with arguments of its own."""
    port = free_port()
    common = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return _ends(work, [(common | {"RANK": rank, "LOCAL_RANK": rank}, arguments[rank]) for rank in range(count)])


def run_revlm(folder: Path, *arguments: str, before: Callable[[], object] | None = None) -> Ended:
    """How the command line ended in a process of its own, which needs no time for imports; see `command`."""
    [ended] = _ends(partial(command, before=before), [({}, (folder, *arguments))])
    return Ended(ended.code or ended.value, ended.value, ended.stderr)


def in_fork(work: Callable[..., Any], *arguments: Any, kill_after_seconds: float | None = None) -> Ended:
    """How one process ended that called the function; SIGKILL ends it after that time."""
    with _forked([(work, {}, arguments)]) as [child]:
        if kill_after_seconds is not None:
            time.sleep(kill_after_seconds)
            child.process.kill()
        return child.end()


def _ends(work: Callable[..., Any], calls: Sequence[tuple[dict[str, Any], Sequence[Any]]]) -> list[Ended]:
    """How processes ended that called the function at one time, each with an environment and arguments."""
    with _forked([(work, variables, arguments) for variables, arguments in calls]) as children:
        return [child.end() for child in children]


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    results: Connection
    said: Path

    def end(self) -> Ended:
        """Waits for the end."""
        value = _received(self.results)
        self.process.join(_SECONDS)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        assert self.process.exitcode is not None
        return Ended(self.process.exitcode, value, self.said.read_text() if self.said.exists() else "")


@contextmanager
def _forked(calls: Sequence[tuple[Callable[..., Any], dict[str, Any], Sequence[Any]]]) -> Iterator[list[_Child]]:
    """Forks of a process that has imported everything once and computed nothing: a thread pool survives no fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for number, (work, variables, arguments) in enumerate(calls):
            said, (here, there) = Path(folder, str(number)), context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(variables, said, there, work, arguments))
            process.start()
            there.close()
            children.append(_Child(process, here, said))
        yield children


def command(folder: Path, *arguments: str, before: Callable[[], object] | None = None) -> int:
    """The exit code of the command line in a folder, after something else was done in its process."""
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if before is not None:
        before()
    return main(arguments)


def _work(variables: dict[str, Any], said: Path, results: Connection, work: Callable[..., Any], arguments: Any) -> None:
    os.environ.update({name: str(value) for name, value in variables.items()})
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    try:
        results.send(work(*arguments))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(99)


def _received(results: Connection) -> Any:
    """What a process sent; None where it ended without."""
    try:
        return results.recv() if results.poll(_SECONDS) else None
    except EOFError:
        return None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
