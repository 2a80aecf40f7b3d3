"""Progress of a long prompt: a bar in a terminal, else a line every few seconds."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from revlm.cli.terminal.console import Terminal
from revlm.text import clock

SECONDS_BETWEEN_LINES = 10.0


class PrefillProgress:
    """Shows processed tokens and the time left on standard error; nothing for a prompt that takes one block."""

    def __init__(self) -> None:
        console = Terminal(stderr=True)
        columns = (TextColumn("prompt"), BarColumn(), MofNCompleteColumn(), TextColumn("tokens"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("prompt")
        self._start = self._last_line = time.monotonic()

    def show(self, done: int, total: int) -> None:
        """Shows that `done` of `total` tokens are processed."""
        if done < total:
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
        now = time.monotonic()
        if self._bar.disable and done < total and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = clock((now - self._start) * (total - done) / max(done, 1))
            print(f"prompt: {done:,} of {total:,} tokens, {left} left", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
