"""Worker processes served in round-robin order, so that results come in the order of the work.

Unlike the processes of `concurrent.futures`, they exit with their parent even if it is killed, and the death of one is
an error at once: with Python 3.11's `ProcessPoolExecutor` the parent then waited forever on a queue without a reader.
"""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from revlm.errors import ResourceError
from revlm.imports import safe_path_in_children
from revlm.storage import Closing

Work = TypeVar("Work")
Result = TypeVar("Result")
Shared = TypeVar("Shared")

# Ctrl-C in a terminal and the signals of a batch system reach every process: only the parent handles them.
_OF_THE_PARENT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Workers(Closing, Generic[Work, Result]):
    """Processes that call `function(shared, work)`; each receives `shared` once."""

    def __init__(self, count: int, shared: Shared, function: Callable[[Shared, Work], Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        try:
            with (
                safe_path_in_children(),
                _signals_blocked(),
            ):  # a process inherits the signal mask of its parent
                for _ in range(count):
                    ours, theirs = context.Pipe()
                    self._connections.append(ours)
                    process = context.Process(target=_serve, args=(theirs, shared, function), daemon=True)
                    process.start()
                    theirs.close()  # so that each side sees the other's end
                    self._processes.append(process)
        except BaseException:
            self.close()
            raise
        self._next_to_send, self._next_to_receive = cycle(self._connections), cycle(self._connections)

    def submit(self, work: Work) -> None:
        """Sends work to the next worker; never blocks on unread results."""
        try:
            next(self._next_to_send).send(work)
        except OSError as error:
            raise self._a_worker_died() from error

    def next_result(self) -> Result:
        """Returns the result of the earliest work whose result is outstanding, or raises its worker's exception.

        Raises:
            ResourceError: a worker was killed.
        """
        try:
            result, error = next(self._next_to_receive).recv()
        except (EOFError, OSError) as error:
            raise self._a_worker_died() from error
        if error is not None:
            raise error
        return result

    def _a_worker_died(self) -> ResourceError:
        return ResourceError(
            f"one of {len(self._processes)} worker processes was killed, perhaps because memory ran out; "
            "run the same command again with fewer --workers to resume"
        )

    def close(self) -> None:
        """Ends the worker processes."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Blocks the signals that the parent handles, inside a `with` block."""
    resource_tracker.ensure_running()  # starting it later would unblock SIGINT and SIGTERM
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, shared: Any, function: Callable[[Any, Any], Any]) -> None:
    """Runs work in a worker process until the parent closes the connection."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, waiting), daemon=True).start()
    while True:
        work = waiting.get()
        answer: tuple[Any, Exception | None]
        try:
            answer = (function(shared, work), None)
        except Exception as error:
            answer = (None, error)
        connection.send(answer)


def _receive(connection: Connection, waiting: queue.SimpleQueue[Any]) -> None:
    """Queues work while other work runs; ends the process when the parent closes the connection or is killed."""
    while True:
        try:
            waiting.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)
