"""Work done at one time by several processes, which are the ranks of a run, as torchrun would start them."""

import multiprocessing
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from revlm.cli import main

_SECONDS = 300.0


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
    # Forks of a process that has imported everything once and computed nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["datasets", "revlm.training", "revlm.cli.train", "revlm.cli.terminal.display", "tests.several"]
    )
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for rank in range(count):
            place = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            said, (here, there) = Path(folder, str(rank)), context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(place, said, there, work, arguments[rank]))
            process.start()
            there.close()
            started.append((process, here, said))
        ended = []
        for process, here, said in started:
            value = _received(here)
            process.join(_SECONDS)
            if process.exitcode is None:
                process.kill()
                process.join()
            ended.append(Ended(process.exitcode, value, said.read_text() if said.exists() else ""))
        return ended


def command(folder: Path, *arguments: str, before: Callable[[], object] | None = None) -> int:
    """The exit code of the command line in a folder, after something else was done in its process."""
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if before is not None:
        before()
    code = main(arguments)
    sys.stderr.flush()
    return code


def _work(place: dict[str, Any], said: Path, results: Connection, work: Callable[..., Any], arguments: Any) -> None:
    os.environ.update({name: str(value) for name, value in place.items()})
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
