"""Signals that request long work to stop: recorded when they arrive, handled where the work can be resumed."""

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """While entered, records the first signal in `name`; a second one has its default effect.

    A second SIGHUP has no effect: when a terminal closes, the kernel and the shell both send one. If SIGHUP is already
    ignored, as under `nohup`, it stays ignored.

    Use it in the main thread: no other thread may handle signals.
    """

    def __init__(self, message: Callable[[str], object], what_happens: str) -> None:
        """On a signal, `message` is called with its name and `what_happens`."""
        self.name: str | None = None
        self._message, self._what_happens = message, what_happens
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        handled = [each for each in SIGNALS if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]
        self._before = {each: signal.signal(each, self._record) for each in handled}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(list(self._before))

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None:
            return
        self.name = signal.Signals(number).name
        self._restore([each for each in self._before if each != signal.SIGHUP])
        again = "" if number == signal.SIGHUP else "; send it again to stop at once"
        with suppress(OSError):  # the reader of the message may have received the signal too
            self._message(f"{self.name}: {self._what_happens}{again}")

    def _restore(self, signals: list[signal.Signals]) -> None:
        for each in signals:
            signal.signal(each, self._before.pop(each))
