"""Watches the ranks of a run: which have failed, ended or hang, and how far each one is.

A rank that waits in a collective operation cannot ask another one. So each rank reports once a second, from a thread,
through the store by which ranks found each other.
"""

import json
from collections.abc import Callable
from threading import Event, Thread
from typing import NamedTuple

import torch.distributed as dist

SECONDS = 1.0
"""Between two reports of a rank."""


class Report(NamedTuple):
    """What a rank reports: a number that changes each time, the exchanges that it has begun, and how it ends, if so."""

    number: int = 0
    exchanges: int = 0
    state: str = "at work"


FAILED, LEFT = "failed", "left"


class Watch:
    """This rank's view of the others; `close` ends its thread."""

    def __init__(self, store: dist.Store, rank: int, world_size: int) -> None:
        """All ranks exchange something after this and before `start`, so that every rank has reported."""
        self._store, self._rank = store, rank
        self._keys = [f"report of {each}" for each in range(world_size)]
        self._reports = [Report()] * world_size
        self._unchanged = [0] * world_size
        self._exchanges, self._state, self._number = 0, Report().state, 0
        self._unread = 0
        self._closed, self._hurry = Event(), Event()
        self._thread = Thread(target=self._run, name="watch", daemon=True)
        self._report()

    def start(self) -> None:
        """Starts to report and to watch."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, if it does not wait for a store that does not respond."""
        self._closed.set()
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join(5 * SECONDS)

    def begin_exchange(self) -> None:
        """Counts an exchange that this rank begins."""
        self._exchanges += 1

    def end(self, state: str) -> None:
        """Reports at once that this rank has FAILED, or LEFT because another one did not respond."""
        self._state = state
        self._hurry.set()

    def failed(self) -> list[int]:
        """Returns the other ranks that have failed."""
        return self._others(lambda rank: self._reports[rank].state == FAILED)

    def silent(self, seconds: float) -> list[int]:
        """Returns the other ranks that have not reported for so long; call it once in SECONDS.

        Counted in calls and in reports of this rank, so that one that was stopped itself does not take the others for
        silent.
        """
        self._unread += 1
        if self._unread * SECONDS >= seconds:  # the store does not respond: rank 0 keeps it, or torchrun beside it
            return self._others(lambda rank: rank == 0)
        return self._others(
            lambda rank: self._unchanged[rank] * SECONDS >= seconds and self._reports[rank].state != LEFT
        )

    def behind(self, ranks: range) -> list[int]:
        """Returns those of some ranks that have begun fewer exchanges than this one."""
        return [rank for rank in ranks if rank != self._rank and self._reports[rank].exchanges < self._exchanges]

    def _others(self, is_meant: Callable[[int], bool]) -> list[int]:
        return [rank for rank in range(len(self._keys)) if rank != self._rank and is_meant(rank)]

    def _run(self) -> None:
        while not self._closed.is_set():
            self._hurry.wait(SECONDS)
            self._hurry.clear()
            try:
                self._report()
                self._read()
            except RuntimeError:  # the process that keeps the store has ended
                self._closed.wait(SECONDS)

    def _report(self) -> None:
        self._number += 1
        self._store.set(self._keys[self._rank], json.dumps(Report(self._number, self._exchanges, self._state)))

    def _read(self) -> None:
        for rank, value in enumerate(self._store.multi_get(self._keys)):
            report = Report(*json.loads(value))
            self._unchanged[rank] = self._unchanged[rank] + 1 if report == self._reports[rank] else 0
            self._reports[rank] = report
        self._unread = 0
