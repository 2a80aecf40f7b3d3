"""Signals that ask long work to stop: noted when they come, obeyed where the work can be left and resumed."""

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """While it is entered, the first of the signals is noted in `name`; a second one acts as it always would.

    A second SIGHUP does nothing: where a terminal closes, the kernel and the shell both send one. One that is ignored
    already, as `nohup` makes it, stays ignored.

    For the main thread of a program, which alone may handle signals.
    """

    def __init__(self, message: Callable[[str], object], what_happens: str) -> None:
        """Takes what tells the user that the signal was seen, and what it is said to bring about."""
        self.name: str | None = None
        self._message, self._what_happens = message, what_happens
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        handled = [each for each in SIGNALS if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]
        self._before = {each: signal.signal(each, self._note) for each in handled}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(list(self._before))

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None:
            return
        self.name = signal.Signals(number).name
        self._restore([each for each in self._before if each != signal.SIGHUP])
        again = "" if number == signal.SIGHUP else "; once more stops at once"
        with suppress(OSError):  # who would read it may have been sent the signal too
            self._message(f"{self.name}: {self._what_happens}{again}")

    def _restore(self, signals: list[signal.Signals]) -> None:
        for each in signals:
            signal.signal(each, self._before.pop(each))
