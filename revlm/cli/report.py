"""`revlm report`: pictures and an HTML page, from run folders alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from revlm.cli.options import PATH
from revlm.cli.terminal.streams import print_json

if TYPE_CHECKING:
    from revlm.report import Comparison, History, RunReport


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", **PATH, help="Run folders; default: the latest under ./runs."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: files and key figures.")] = False,
) -> None:
    """Write a self-contained HTML page and pictures of loss and memory into each run folder.

    A run that `revlm evaluate` has evaluated also gets pictures of the results.

    Several runs are also compared, on comparison.html in the folder that holds them all.

    Example: revlm report runs/novels
    """
    from revlm.report import read_history, write_comparison, write_report
    from revlm.runs import newest_run

    folders = list({run.resolve(): run for run in runs or [newest_run().path]}.values())
    histories = [read_history(folder) for folder in folders]
    reports = [write_report(history) for history in histories]
    comparison = write_comparison(histories) if len(histories) > 1 else None
    if as_json:
        _print_json(histories, reports, comparison)
    else:
        _print_text(histories, reports, comparison)


def _print_text(histories: "list[History]", reports: "list[RunReport]", comparison: "Comparison | None") -> None:
    from revlm.report import summarize
    from revlm.text import figure_text, human_bytes, plural

    def print_files(files: "RunReport | Comparison") -> None:
        for file in files.files().values():
            typer.echo(f"  {file}")

    for history, files in zip(histories, reports, strict=True):
        summary = summarize(history)
        first, last = figure_text(summary.first_loss), figure_text(summary.last_loss)
        peak = human_bytes(summary.peak_memory_bytes)
        typer.echo(f"{history.folder}: {plural(summary.steps, 'step')}, loss {first} to {last}, peak memory {peak}")
        print_files(files)
    if comparison:
        typer.echo("comparison:")
        print_files(comparison)


def _print_json(histories: "list[History]", reports: "list[RunReport]", comparison: "Comparison | None") -> None:
    from revlm.report import summarize

    def paths(files: "RunReport | Comparison") -> dict[str, Any]:
        return {name: str(file) for name, file in files.files().items()}

    content = {
        "runs": [
            {"run": str(history.folder), **paths(files), "figures": summarize(history).as_dict()}
            for history, files in zip(histories, reports, strict=True)
        ],
        "comparison": paths(comparison) if comparison else None,
    }
    print_json(content, indent=2)
