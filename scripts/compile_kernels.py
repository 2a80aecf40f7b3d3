"""Reports the resources of each Triton kernel without a GPU: registers, shared memory and spilled bytes, from ptxas.

Kernels are compiled ahead of time with the arguments of training; Triton includes ptxas.
"""

import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench.command import numbers, run, words
from bench.kernels import DTYPES, Compiled, compiled_kernels
from revlm.errors import UsageError


def main(
    architectures: Annotated[
        str, typer.Option(help="Compute capabilities without the point, comma-separated.")
    ] = "80,90",
    head_dims: Annotated[str, typer.Option(help="Head widths, comma-separated.")] = "32,64,128",
    precisions: Annotated[str, typer.Option(help="Precisions of q, k and v, comma-separated.")] = ",".join(DTYPES),
    rounds: Annotated[
        str, typer.Option(help="Numbers of hash rounds, of which the last round is compiled, comma-separated.")
    ] = "1,4",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compile every kernel; print its registers per thread, shared memory and spilled bytes."""
    try:
        compiled = compiled_kernels(
            numbers(architectures, "--architectures"),
            numbers(head_dims, "--head-dims"),
            words(precisions, tuple(DTYPES), "--precisions"),
            numbers(rounds, "--rounds"),
        )
        results = list(compiled)
    except ImportError as error:
        raise UsageError(f"triton cannot be imported ({error}): install it, as `make setup` does on Linux") from error
    if as_json:
        print(json.dumps({"kernels": [each._asdict() for each in results]}))
    else:
        Console(width=140).print(_table(results))


def _table(results: list[Compiled]) -> Table:
    table = Table(title="bytes per program", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("kernel", "sm", "precision"):
        table.add_column(name, no_wrap=True)
    for name in ("head_dim", "round", "block", "warps", "registers", "shared", "spilled", "reloaded"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in results:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in each))
    return table


if __name__ == "__main__":
    run(main)
