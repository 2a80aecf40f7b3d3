"""Monitors the ranks of a run by heartbeats: which have failed, ended or hang, and how far each one is.

A rank that waits in a collective operation cannot ask another rank. So a thread of each rank sends a heartbeat once a
second through the store by which the ranks found each other.
"""

import json
from collections.abc import Callable
from threading import Event, Thread
from typing import NamedTuple

import torch.distributed as dist

SECONDS = 1.0
"""The time between two heartbeats of a rank."""


class Heartbeat(NamedTuple):
    """A heartbeat of a rank: its number, the number of exchanges that the rank has begun, and the rank's state."""

    number: int = 0
    exchanges: int = 0
    state: str = "at work"


FAILED, LEFT = "failed", "left"


class RankMonitor:
    """This rank's view of the others; `close` ends its thread."""

    def __init__(self, store: dist.Store, rank: int, world_size: int) -> None:
        """Sends the first heartbeat; the ranks must synchronize before `start`, so that every rank has sent one."""
        self._store, self._rank = store, rank
        self._keys = [f"heartbeat of {each}" for each in range(world_size)]
        self._heartbeats = [Heartbeat()] * world_size
        self._unchanged = [0] * world_size
        self._exchanges, self._state, self._number = 0, Heartbeat().state, 0
        self._unanswered_reads = 0
        self._closed, self._wake = Event(), Event()
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)
        self._send()

    def start(self) -> None:
        """Starts the thread that sends and reads heartbeats."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, unless it waits for a store that does not respond."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5 * SECONDS)

    def begin_exchange(self) -> None:
        """Counts an exchange that this rank begins."""
        self._exchanges += 1

    def end(self, state: str) -> None:
        """Reports at once that this rank has FAILED, or LEFT because another one did not respond."""
        self._state = state
        self._wake.set()

    def failed(self) -> list[int]:
        """Returns the other ranks that have failed."""
        return self._others(lambda rank: self._heartbeats[rank].state == FAILED)

    def silent(self, seconds: float) -> list[int]:
        """Returns the other ranks without a heartbeat for `seconds`; call it every SECONDS.

        Time is counted in calls and in heartbeats of this rank, so a rank that was stopped itself does not consider the
        others silent.
        """
        self._unanswered_reads += 1
        if self._unanswered_reads * SECONDS >= seconds:  # the store does not respond: its host is rank 0's machine
            return self._others(lambda rank: rank == 0)
        return self._others(
            lambda rank: self._unchanged[rank] * SECONDS >= seconds and self._heartbeats[rank].state != LEFT
        )

    def behind(self, ranks: range) -> list[int]:
        """Returns the ranks among `ranks` that have begun fewer exchanges than this one."""
        return [rank for rank in ranks if rank != self._rank and self._heartbeats[rank].exchanges < self._exchanges]

    def _others(self, is_meant: Callable[[int], bool]) -> list[int]:
        return [rank for rank in range(len(self._keys)) if rank != self._rank and is_meant(rank)]

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(SECONDS)
            self._wake.clear()
            try:
                self._send()
                self._read()
            except RuntimeError:  # the process that hosts the store has ended
                self._closed.wait(SECONDS)

    def _send(self) -> None:
        self._number += 1
        self._store.set(self._keys[self._rank], json.dumps(Heartbeat(self._number, self._exchanges, self._state)))

    def _read(self) -> None:
        for rank, value in enumerate(self._store.multi_get(self._keys)):
            heartbeat = Heartbeat(*json.loads(value))
            self._unchanged[rank] = self._unchanged[rank] + 1 if heartbeat == self._heartbeats[rank] else 0
            self._heartbeats[rank] = heartbeat
        self._unanswered_reads = 0
