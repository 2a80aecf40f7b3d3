"""Signals that ask long work to stop: noted when they come, heeded where it can be left and found again."""

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """While it is entered, the first of the signals is noted in `name`; a second one acts as it always would.

    For the main thread of a program, which alone may handle signals.
    """

    def __init__(self, message: Callable[[str], object], what_happens: str) -> None:
        """Takes what tells the user that the signal was seen, and what it is said to bring about."""
        self.name: str | None = None
        self._message, self._what_happens = message, what_happens
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {each: signal.signal(each, self._note) for each in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self._restore()
        with suppress(OSError):  # who would read it may have been sent the signal too
            self._message(f"{self.name}: {self._what_happens}; once more stops at once")

    def _restore(self) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        self._before = {}
