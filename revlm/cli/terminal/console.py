"""The console for tables, progress and live displays: styled, with text filtered like all other output.

Numbers in tables are never truncated, however narrow the terminal.
"""

import sys
from collections.abc import Iterable
from typing import IO, Any, NoReturn

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from revlm.cli.terminal.streams import printable, styled

_WIDEST_WORD = 24  # the longest word kept on one line; ranges such as 16,384-65,535 are shorter


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


def print_table(table: Table, console: Terminal | None = None) -> None:
    """Prints a table; if its number columns need more than the terminal's width, its lines are longer."""
    for column in table.columns:
        cells = [str(cell) if isinstance(cell, str | Text) else "" for cell in column.cells]
        longest = max((cell_len(line) for cell in cells for line in cell.splitlines()), default=0)
        words = f"{column.header} {column.footer}".split()
        if column.justify != "right":
            longest, words = 0, [*words, *(word for cell in cells for word in cell.split())]
        widest = max([longest, *map(cell_len, words)])
        column.min_width = widest if column.justify == "right" else min(widest, _WIDEST_WORD)
    (console or Terminal()).print(table, crop=False)


def print_line(text: str, style: str = "", console: Terminal | None = None) -> None:
    """Prints text as one line of any length, without interpreting markup."""
    (console or Terminal()).print(Text(text, style=style), soft_wrap=True)
