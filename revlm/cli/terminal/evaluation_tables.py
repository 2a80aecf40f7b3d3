"""An evaluation as tables in a terminal."""

from collections.abc import Iterable

import typer
from rich.table import Table
from rich.text import Text

from revlm.cli.terminal.console import print_table
from revlm.evaluation import views
from revlm.evaluation.probes import PROBES
from revlm.evaluation.score_views import score_tables
from revlm.records import Evaluation


def print_tables(evaluation: Evaluation, probes: Iterable[str]) -> None:
    """Prints the scores, the losses by position and the results of these probes, each with a line that explains it."""
    for table in score_tables(evaluation):
        _print(table)
    for name in probes:
        for table in PROBES[name].tables(getattr(evaluation, name)):
            _print(table)


def _print(table: views.Table) -> None:
    if table.title:
        typer.echo(f"\n{table.title}")
    if table.columns:
        print_table(_rich(table))
    if table.note:
        typer.echo(table.note)


def _rich(table: views.Table) -> Table:
    first, *numbers = table.columns
    drawn = Table()
    drawn.add_column(first)
    for name in numbers:
        drawn.add_column(name, justify="right")
    for section in table.sections:
        for row in section:
            drawn.add_row(*(Text(cell) for cell in row))
        drawn.add_section()
    return drawn
