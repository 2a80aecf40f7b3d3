"""Progress of tokenization: a bar in a terminal, else a line every 30 seconds."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from revlm.cli.terminal.console import Terminal

SECONDS_BETWEEN_LINES = 30.0


class TokenizeProgress:
    """Shows processed bytes, their rate, the time left and the current document's title, on standard error."""

    def __init__(self) -> None:
        console = Terminal(stderr=True)
        columns = (
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("reading", total=None)
        self._last_line = time.monotonic()
        self._done_at_last_line = 0

    def show(self, done: int, total: int | None, title: str) -> None:
        """Shows that `done` of `total` bytes are processed; None if the total is unknown."""
        self._bar.update(self._task, completed=done, total=total, description=title or "reading")
        now = time.monotonic()
        if self._bar.disable and now - self._last_line >= SECONDS_BETWEEN_LINES:
            rate = max(done - self._done_at_last_line, 1) / (now - self._last_line)
            self._last_line, self._done_at_last_line = now, done
            left = f"of {decimal(total)}, {(total - done) / rate / 60:.0f} min left" if total else "done"
            self.message(f"{decimal(done)} {left}, {decimal(int(rate))}/s: {title}")

    def message(self, text: str) -> None:
        """Prints a notice; in a terminal, above the bar."""
        if self._bar.disable:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
