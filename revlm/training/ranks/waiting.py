"""Waits for collective operations, and finds out which rank is to blame if one does not finish."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist

from revlm.errors import RankError, is_out_of_memory
from revlm.training.ranks.monitoring import SECONDS, RankMonitor

# A rank that ends is noticed at once, because its connections close; one that hangs, because it no longer reports.
_SILENT_SECONDS = 45.0
# Once a connection broke, some rank is certainly gone: a rank that is silent this long is the one.
_GONE_SECONDS = 5.0
# Ranks that share an example compute the same number of tokens between two exchanges. So a rank waits for the others as
# many times the longest time that it has itself computed between two exchanges, and at least so many seconds.
_EXCHANGE_SECONDS = 45.0
_EXCHANGE_PER_COMPUTATION = 5
# In other waits, another rank may have far longer examples.
LONGEST_WAIT = timedelta(hours=2)

_POLL_SECONDS = 0.0005
_CPU = torch.device("cpu")


class PeerFailed(Exception):
    """Another rank has failed while this one waited for it; that rank reports its error to all."""


class Waiting:
    """How one rank waits for the others."""

    def __init__(self, monitor: RankMonitor, world_size: int) -> None:
        self._monitor, self._world_size = monitor, world_size
        self._longest_computation, self._waited_until = 0.0, time.monotonic()

    def for_all(self, work: dist.Work, device: torch.device = _CPU) -> None:
        """Waits for an operation of all ranks; raises RankError if one of them does not respond."""
        self._wait(work, device, lambda seconds: self._require_no_wait_beyond(LONGEST_WAIT.total_seconds(), seconds))

    def in_group(self, work: dist.Work) -> None:
        """Waits for a CPU operation of the ranks that share an example, some of which may not have begun it yet.

        Raises:
            RankError: one of them does not respond.
            PeerFailed: a rank has failed meanwhile.
        """

        def check(seconds: float) -> None:
            self._require_no_failure()
            self._require_no_wait_beyond(LONGEST_WAIT.total_seconds(), seconds)

        self._in_group(work, _CPU, check)

    def for_exchange(self, work: dist.Work, device: torch.device, ranks: range) -> None:
        """Waits while all ranks that share an example compute it; raises like `in_group`, also if one is late."""
        self._monitor.begin_exchange()
        self._longest_computation = max(self._longest_computation, time.monotonic() - self._waited_until)
        patience = max(_EXCHANGE_SECONDS, _EXCHANGE_PER_COMPUTATION * self._longest_computation)

        def check(seconds: float) -> None:
            self._require_no_failure()
            if seconds > patience:
                cause = f"the others have waited {patience:.0f} s for its part of an example"
                self.raise_rank_error(self._monitor.behind(ranks), cause)

        self._in_group(work, device, check)

    def raise_broken_connection(self, cause: str) -> NoReturn:
        """Raises RankError for a connection that broke, after finding out which rank has ended."""
        for _ in range(3 * round(_GONE_SECONDS / SECONDS)):
            time.sleep(SECONDS)
            if silent := self._monitor.silent(_GONE_SECONDS):
                self.raise_rank_error(silent, cause)
        self.raise_rank_error([], cause)

    def raise_rank_error(self, ranks: list[int], cause: str) -> NoReturn:
        """Raises RankError for these ranks; empty if they are not known."""
        raise lost_rank_error(ranks, self._world_size, cause)

    def _in_group(self, work: dist.Work, device: torch.device, check: Callable[[float], None]) -> None:
        try:
            self._wait(work, device, check)
        except RuntimeError:  # a connection broke: the rank at its end may have failed
            self._require_no_failure()
            raise

    def _wait(self, work: dist.Work, device: torch.device, check: Callable[[float], None]) -> None:
        """Waits for an operation; calls `check` every SECONDS with the seconds waited so far."""
        start = time.monotonic()
        while not _is_done(work, device):
            if silent := self._monitor.silent(_SILENT_SECONDS):
                self.raise_rank_error(silent, f"no report for {_SILENT_SECONDS:.0f} s")
            check(time.monotonic() - start)
        self._waited_until = time.monotonic()

    def _require_no_failure(self) -> None:
        if self._monitor.failed():
            raise PeerFailed

    def _require_no_wait_beyond(self, max_seconds: float, seconds: float) -> None:
        if seconds > max_seconds:
            self.raise_rank_error([], f"waited for {max_seconds / 3600:.0f} hours")


def lost_rank_error(ranks: list[int], world_size: int, cause: str) -> RankError:
    """Returns the error for ranks that are gone; empty if they are not known."""
    named = f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}" if ranks else "another"
    return RankError(
        f"{named} of the {world_size} ranks of this run has ended or does not respond ({cause}): its last message "
        "tells why; run the same command again to resume from the newest checkpoint"
    )


@contextmanager
def broken_connections(fail: Callable[[str], NoReturn]) -> Iterator[None]:
    """Calls `fail` with the cause if `torch.distributed` raises an error in the block."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error) or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        fail(next(iter(str(error).splitlines()), "").rpartition("] ")[2].partition(". ")[0])


def _is_done(work: dist.Work, device: torch.device) -> bool:
    """Waits for at most SECONDS; returns whether the operation has finished. Raises RuntimeError where it failed."""
    if device.type == "cpu":
        try:
            work.wait(timedelta(seconds=SECONDS))
        except RuntimeError as error:
            if "timed out" in str(error).lower():
                return False
            raise
        return True
    deadline = time.monotonic() + SECONDS
    while not work.is_completed():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    work.wait()
    return True
