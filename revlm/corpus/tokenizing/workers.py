"""Worker processes that take turns, so that results come in the order of the work.

Unlike those of `concurrent.futures`, they end with their parent even where it was killed, and the death of one is an
error at once: with `ProcessPoolExecutor` of Python 3.11 the parent then waited for ever on a queue that nobody read.
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
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from revlm.errors import ResourceError
from revlm.imports import safe_path_in_children

Work = TypeVar("Work")
Result = TypeVar("Result")
Shared = TypeVar("Shared")

# Ctrl-C in a terminal and the signals of a batch system reach every process: the parent decides what they mean.
_OF_THE_PARENT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Workers(Generic[Work, Result]):
    """Processes that call `function(shared, work)`; each has the shared value once."""

    def __init__(self, count: int, shared: Shared, function: Callable[[Shared, Work], Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        try:
            with (
                safe_path_in_children(),
                _signals_blocked(),
            ):  # a process begins with what is blocked where it is started
                for _ in range(count):
                    ours, theirs = context.Pipe()
                    self._connections.append(ours)
                    process = context.Process(target=_serve, args=(theirs, shared, function), daemon=True)
                    process.start()
                    theirs.close()  # so that the end of either side is seen by the other
                    self._processes.append(process)
        except BaseException:
            self._end()
            raise
        self._next_to_give, self._next_to_take = cycle(self._connections), cycle(self._connections)

    def give(self, work: Work) -> None:
        """Gives work to the worker whose turn it is; never waits for results to be taken."""
        try:
            next(self._next_to_give).send(work)
        except OSError as error:
            raise self._a_worker_died() from error

    def take(self) -> Result:
        """Returns the result of the work given first of what is not taken yet, and raises what its worker raised.

        Raises:
            ResourceError: a worker was killed.
        """
        try:
            result, error = next(self._next_to_take).recv()
        except (EOFError, OSError) as error:
            raise self._a_worker_died() from error
        if error is not None:
            raise error
        return result

    def _a_worker_died(self) -> ResourceError:
        return ResourceError(
            f"one of {len(self._processes)} worker processes was killed, perhaps because memory ran out; "
            "run the same command again with fewer --workers to go on"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Lets the signals of the parent wait while the block lasts."""
    resource_tracker.ensure_running()  # to start it would let SIGINT and SIGTERM through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, shared: Any, function: Callable[[Any, Any], Any]) -> None:
    """Works off what comes, in a worker process, until the other side is gone."""
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
    """Takes in work while other work is done; ends the process when the parent has closed, or has been killed."""
    while True:
        try:
            waiting.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)
