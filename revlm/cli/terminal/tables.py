"""Tables on standard output; numbers are never truncated, however narrow the terminal."""

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from revlm.cli.terminal.console import Terminal

_WIDEST_WORD = 24  # the longest word kept on one line; ranges such as 16,384-65,535 are shorter


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
