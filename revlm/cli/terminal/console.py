"""The console for tables, progress and live displays: styled, with text filtered like all other output."""

import sys
from collections.abc import Iterable
from typing import IO, Any, NoReturn

from rich.console import Console
from rich.segment import Segment

from revlm.cli.terminal.streams import printable, styled


class Terminal(Console):
    """A console on standard output, or with `stderr` on standard error, that filters control characters in text."""

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, **options: Any) -> None:
        super().__init__(file=file or styled(sys.stderr if stderr else sys.stdout), **options)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            each if each.control else Segment(printable(each.text), each.style) for each in buffer
        )

    def on_broken_pipe(self) -> NoReturn:
        """Re-raises the BrokenPipeError; rich's own method ends the process."""
        raise
