"""Limits the time of a source, and turns any exception that it raises into a SourceFailure."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from revlm.fetching.failure import SourceFailure

T = TypeVar("T")


class Deadline:
    """The time limit of a source, over all its waits, redirects and retries."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def require_time_left(self) -> None:
        """Raises SourceFailure after the deadline."""
        if time.monotonic() >= self._end:
            raise SourceFailure(f"it took longer than {self._seconds:g} s (--timeout allows more)")

    def run(self, work: Callable[[], T]) -> T:
        """Returns the result of `work`; raises SourceFailure at the deadline, or when `work` raises anything.

        `work` runs in a thread, because network waits (name resolution, handshakes, header lines) have individual time
        limits but no common one. A thread that misses the deadline is abandoned; it ends at its next check of the
        deadline, or with the process.
        """
        results: list[T] = []
        failures: list[SourceFailure] = []

        def attempt() -> None:
            try:
                results.append(work())
            except SourceFailure as failure:
                failures.append(failure)
            except Exception as error:  # untrusted input: no list of exceptions would be complete
                failures.append(SourceFailure(f"it cannot be read ({type(error).__name__}: {error})"))

        thread = threading.Thread(target=attempt, name="revlm fetch", daemon=True)
        thread.start()
        thread.join(max(0.0, self._end - time.monotonic()))
        if results:
            return results[0]
        if failures:
            raise failures[0]
        self.require_time_left()
        raise SourceFailure("it ended without a result")
