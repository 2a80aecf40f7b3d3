"""Waits for collective operations, and finds out which rank is the reason where one does not finish."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist

from revlm.errors import RankError, is_out_of_memory
from revlm.training.watch import SECONDS, Watch

# A rank that ends is noticed at once, because its connections close; one that hangs, because it no longer reports.
_SILENT_SECONDS = 45.0
# Once a connection broke, some rank is gone for certain: the others report meanwhile.
_GONE_SECONDS = 5.0
# Ranks that share an example compute the same number of tokens between two exchanges. How long one waits for the
# others: at least so long, and so many times the longest time that it has itself computed between two exchanges.
_EXCHANGE_SECONDS = 45.0
_EXCHANGE_PER_COMPUTATION = 5
# Other waits may be for a rank whose examples are far longer.
LONGEST_WAIT = timedelta(hours=2)

_POLL_SECONDS = 0.0005
_CPU = torch.device("cpu")


class PeerFailed(Exception):
    """Another rank has failed, while this one waited for it: it will report its error to all."""


class Waiting:
    """How one rank waits for the others."""

    def __init__(self, watch: Watch, world_size: int) -> None:
        self._watch, self._world_size = watch, world_size
        self._longest_computation, self._waited_until = 0.0, time.monotonic()

    def for_all(self, work: dist.Work, device: torch.device = _CPU) -> None:
        """Waits for an operation of all ranks; raises RankError if one of them does not respond."""
        self._wait(work, device, lambda seconds: self._require_no_wait_beyond(LONGEST_WAIT.total_seconds(), seconds))

    def in_group(self, work: dist.Work) -> None:
        """Waits for an operation on the CPU of the ranks that share an example, some of which may not yet be at work.

        Raises:
            RankError: one of them does not respond.
            PeerFailed: a rank has failed meanwhile.
        """

        def check(seconds: float) -> None:
            self._require_no_failure()
            self._require_no_wait_beyond(LONGEST_WAIT.total_seconds(), seconds)

        self._in_group(work, _CPU, check)

    def for_exchange(self, work: dist.Work, device: torch.device, ranks: range) -> None:
        """Waits for ranks that share an example and are all at work on it; raises like `in_group`, also for one that
        is far behind.
        """
        self._watch.begin_exchange()
        self._longest_computation = max(self._longest_computation, time.monotonic() - self._waited_until)
        patience = max(_EXCHANGE_SECONDS, _EXCHANGE_PER_COMPUTATION * self._longest_computation)

        def check(seconds: float) -> None:
            self._require_no_failure()
            if seconds > patience:
                cause = f"the others have waited {patience:.0f} s for its part of an example"
                self.raise_lost(self._watch.behind(ranks), cause)

        self._in_group(work, device, check)

    def raise_gone(self, cause: str) -> NoReturn:
        """Raises RankError for a connection that broke, after finding out which rank has ended."""
        for _ in range(3 * round(_GONE_SECONDS / SECONDS)):
            time.sleep(SECONDS)
            if silent := self._watch.silent(_GONE_SECONDS):
                self.raise_lost(silent, cause)
        self.raise_lost([], cause)

    def raise_lost(self, ranks: list[int], cause: str) -> NoReturn:
        """Raises RankError for ranks, as far as they are known."""
        raise lost(ranks, self._world_size, cause)

    def _in_group(self, work: dist.Work, device: torch.device, check: Callable[[float], None]) -> None:
        try:
            self._wait(work, device, check)
        except RuntimeError:  # a connection broke: the rank at its end may have failed
            self._require_no_failure()
            raise

    def _wait(self, work: dist.Work, device: torch.device, check: Callable[[float], None]) -> None:
        """Waits for an operation; calls `check` once in SECONDS, with the seconds so far."""
        start = time.monotonic()
        while not _is_done(work, device):
            if silent := self._watch.silent(_SILENT_SECONDS):
                self.raise_lost(silent, f"no sign of it for {_SILENT_SECONDS:.0f} s")
            check(time.monotonic() - start)
        self._waited_until = time.monotonic()

    def _require_no_failure(self) -> None:
        if self._watch.failed():
            raise PeerFailed

    def _require_no_wait_beyond(self, most_seconds: float, seconds: float) -> None:
        if seconds > most_seconds:
            self.raise_lost([], f"waited for {most_seconds / 3600:.0f} hours")


def lost(ranks: list[int], world_size: int, cause: str) -> RankError:
    """Returns the error for ranks that are gone, as far as they are known."""
    named = f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}" if ranks else "another"
    return RankError(
        f"{named} of the {world_size} ranks of this run has ended or does not respond ({cause}): its last message "
        "tells why; run the same command again to resume from the newest checkpoint"
    )


@contextmanager
def broken_connections(fail: Callable[[str], NoReturn]) -> Iterator[None]:
    """Calls `fail` with the cause of an error of `torch.distributed` in the block."""
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
