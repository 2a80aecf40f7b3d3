"""The table and the plot of `revlm plan --sweep`: one key over several values, reversible and stored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from revlm.cli.planned import describe_plan
from revlm.cli.terminal.streams import print_json
from revlm.errors import UsageError

MODES = {"reversible": True, "stored": False}


def run_sweep(
    recipe: str,
    overrides: Sequence[str],
    sweep: str,
    vocab_size: int,
    output: Path | None,
    measure: bool,
    as_json: bool,
) -> None:
    """Prints the sweep, and plots it to `output` if given. Raises UsageError if the values are not numbers."""
    from revlm.recipe import load_recipe

    key, values = _parse(sweep)
    rows: list[dict[str, Any]] = []
    for value in values:
        row: dict[str, Any] = {"value": value}
        for mode, reversible in MODES.items():
            changed = [*overrides, f"{key}={value}", f"model.reversible={str(reversible).lower()}"]
            described = describe_plan(load_recipe(recipe, changed), vocab_size, measure)
            measured = described["measured"]
            row[mode] = {
                "peak_bytes": described["peak_bytes"],
                "total_bytes": described["total_bytes"],
                "fits": described["fits"],
                "measured_peak_bytes": max(measured.values()) if measured else None,
            }
        rows.append(row)
    # Printed first: measurements that took long are not lost if the plot cannot be written.
    if as_json:
        print_json({"key": key, "vocab_size": vocab_size, "rows": rows}, indent=2)
    else:
        _print_table(key, rows)
    if output is not None:
        _draw(key, rows, output)
        if not as_json:
            typer.echo(f"wrote {output}", err=True)


def _parse(sweep: str) -> tuple[str, list[int]]:
    key, _, listed = sweep.partition("=")
    values = listed.split(",")
    if not key or not all(value.strip().isdecimal() for value in values):
        raise UsageError(f"--sweep {sweep} should be KEY=N,N,... with whole numbers, such as model.n_layers=2,8,32")
    return key.strip(), sorted({int(value) for value in values})


def _print_table(key: str, rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    from revlm.cli.terminal.tables import print_table
    from revlm.text import human_bytes

    with_measured = any(row[mode]["measured_peak_bytes"] for row in rows for mode in MODES)
    table = Table(
        title="peak memory of a step, without the process before the model",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(key, justify="right")
    for mode in MODES:
        table.add_column(f"{mode},\nplanned", justify="right", no_wrap=True)
        if with_measured:
            table.add_column("measured", justify="right", no_wrap=True)
            table.add_column("off", justify="right", no_wrap=True)
        else:
            table.add_column("fits")
    for row in rows:
        cells = [f"{row['value']:,}"]
        for mode in MODES:
            entry = row[mode]
            cells.append(human_bytes(entry["peak_bytes"]))
            if with_measured:
                measured = entry["measured_peak_bytes"]
                cells.append(human_bytes(measured))
                cells.append(f"{entry['peak_bytes'] / measured - 1:+.0%}" if measured else "")
            else:
                cells.append({True: "yes", False: "no", None: "?"}[entry["fits"]])
        table.add_row(*cells)
    print_table(table)


def _draw(key: str, rows: list[dict[str, Any]], output: Path) -> None:
    from revlm.report import Curve, write_sweep

    curves = [
        Curve(
            name,
            [row["value"] for row in rows],
            [row[name]["peak_bytes"] for row in rows],
            [row[name]["measured_peak_bytes"] for row in rows],
        )
        for name in MODES
    ]
    write_sweep(output, key, curves)
