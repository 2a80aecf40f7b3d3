"""Tables on standard output, whose numbers are whole however narrow the terminal is."""

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from revlm.cli.terminal.console import Terminal

_NARROWEST_TEXT = 12  # of a column of words, which are broken below that


def print_table(table: Table, console: Terminal | None = None) -> None:
    """Prints a table; where its columns of numbers need more than the terminal's width, its lines are longer."""
    for column in table.columns:
        cells = [str(cell) if isinstance(cell, str | Text) else "" for cell in column.cells]
        longest = max((cell_len(line) for cell in cells for line in cell.splitlines()), default=0)
        words = max((cell_len(word) for word in f"{column.header} {column.footer}".split()), default=0)
        column.min_width = max(longest, words) if column.justify == "right" else min(longest, _NARROWEST_TEXT)
    (console or Terminal()).print(table, crop=False)


def print_line(text: str, style: str = "", console: Terminal | None = None) -> None:
    """Prints a text as one line, without markup, however long it is."""
    (console or Terminal()).print(Text(text, style=style), soft_wrap=True)
