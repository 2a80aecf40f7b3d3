"""The boundary around a source: it ends in time, and whatever it raises becomes the reason why it failed."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from revlm.fetching.failure import SourceFailure

T = TypeVar("T")


class Deadline:
    """The time by which a source must have given its text, all waits, redirects and retries together."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def require_time_left(self) -> None:
        """Raises SourceFailure where the time is over."""
        if time.monotonic() >= self._end:
            raise SourceFailure(f"it took longer than {self._seconds:g} s (--timeout allows more)")

    def run(self, work: Callable[[], T]) -> T:
        """Returns what `work` returns, or raises SourceFailure when the time is over or `work` fails in any way.

        The work runs in a thread, because waits for the network (names, handshakes, header lines) have time limits
        each but none together. A thread that is too late is left behind; it ends at its next look at the deadline,
        or with the process.
        """
        results: list[T] = []
        failures: list[SourceFailure] = []

        def attempt() -> None:
            try:
                results.append(work())
            except SourceFailure as failure:
                failures.append(failure)
            except Exception as error:  # of what a stranger sent: no list of what can go wrong is complete
                failures.append(SourceFailure(f"it cannot be read ({type(error).__name__}: {error})"))

        thread = threading.Thread(target=attempt, name="revlm fetch", daemon=True)
        thread.start()
        thread.join(max(0.0, self._end - time.monotonic()))
        if results:
            return results[0]
        if failures:
            raise failures[0]
        self.require_time_left()
        raise SourceFailure("it ended without an answer")
