"""Progress of long work on standard error: a bar in a terminal, else a line every few seconds."""

import sys
import time
from typing import Self

from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from revlm.cli.terminal.console import Terminal
from revlm.storage import Closing
from revlm.text import clock

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_PROMPT_LINES = 10.0


class _Bar(Closing):
    """A bar that is shown in a terminal only, and removed on leaving the `with` block."""

    def __init__(self, task: str, total: int | None, *columns: ProgressColumn) -> None:
        console = Terminal(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(task, total=total)
        self._last_line = time.monotonic()

    def close(self) -> None:
        """Removes the bar."""
        self._bar.stop()

    def _seconds_if_due(self, seconds_between: float) -> float | None:
        """The seconds since the last line if a plain line is due; else None."""
        now = time.monotonic()
        seconds = now - self._last_line
        if not self._bar.disable or seconds < seconds_between:
            return None
        self._last_line = now
        return seconds


class PrefillProgress(_Bar):
    """Shows processed tokens and the time left; nothing for a prompt of a single block."""

    def __init__(self) -> None:
        columns = (TextColumn("prompt"), BarColumn(), MofNCompleteColumn(), TextColumn("tokens"), TimeRemainingColumn())
        super().__init__("prompt", 100, *columns)
        self._start = self._last_line

    def show(self, done: int, total: int) -> None:
        """Shows that `done` of `total` tokens are processed."""
        if done < total:
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
        if done < total and self._seconds_if_due(SECONDS_BETWEEN_PROMPT_LINES) is not None:
            left = clock((self._last_line - self._start) * (total - done) / max(done, 1))
            print(f"prompt: {done:,} of {total:,} tokens, {left} left", file=sys.stderr, flush=True)


class TokenizeProgress(_Bar):
    """Shows processed bytes, their rate, the time left and the current document's title."""

    def __init__(self) -> None:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        super().__init__("reading", None, *columns, TextColumn("{task.description}", markup=False))
        self._done_at_last_line = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def show(self, done: int, total: int | None, title: str) -> None:
        """Shows that `done` of `total` bytes are processed; None if the total is unknown."""
        self._bar.update(self._task, completed=done, total=total, description=title or "reading")
        if (seconds := self._seconds_if_due(SECONDS_BETWEEN_LINES)) is not None:
            rate = max(done - self._done_at_last_line, 1) / seconds
            self._done_at_last_line = done
            left = f"of {decimal(total)}, {(total - done) / rate / 60:.0f} min left" if total else "done"
            self.message(f"{decimal(done)} {left}, {decimal(int(rate))}/s: {title}")

    def message(self, text: str) -> None:
        """Prints a notice; in a terminal, above the bar."""
        if self._bar.disable:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)
