"""Reports the resources of each Triton kernel without a GPU: registers, shared memory and spilled bytes, from ptxas.

Kernels are compiled ahead of time with the arguments of training; Triton includes ptxas. One variant of a kernel serves
many inputs; it is compiled once, and its row lists them.
"""

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from bench.command import numbers, run, words
from bench.kernels import DTYPES, Compiled, compiled, requests
from revlm.errors import UsageError

_COLUMNS = {
    "kernel": 23,
    "sm": 4,
    "precision": 11,
    "head_dim": 11,
    "round": 7,
    "block": 14,
    "warps": 7,
    "registers": 11,
    "shared": 9,
    "spilled": 9,
    "reloaded": 9,
}


def main(
    architectures: Annotated[
        str, typer.Option(help="Compute capabilities without the point, comma-separated.")
    ] = "80,90",
    head_dims: Annotated[str, typer.Option(help="Head widths, comma-separated.")] = "32,64,128",
    precisions: Annotated[str, typer.Option(help="Precisions of q, k and v, comma-separated.")] = ",".join(DTYPES),
    rounds: Annotated[
        str, typer.Option(help="Numbers of hash rounds, of which the last round is compiled, comma-separated.")
    ] = "1,4",
    kernels: Annotated[str | None, typer.Option(help="Kernels, comma-separated; all unless given.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; the rows go to standard error.")
    ] = False,
) -> None:
    """Compile every kernel; print its registers per thread, shared memory and spilled bytes per program."""
    try:
        found = requests(
            numbers(architectures, "--architectures"),
            numbers(head_dims, "--head-dims"),
            words(precisions, tuple(DTYPES), "--precisions"),
            numbers(rounds, "--rounds"),
        )
    except ImportError as error:
        raise UsageError(f"triton cannot be imported ({error}): install it, as `make setup` does on Linux") from error
    names = tuple(dict.fromkeys(each.kernel for each in found))
    chosen = names if kernels is None else words(kernels, names, "--kernels")
    output = sys.stderr if as_json else sys.stdout
    results: list[Compiled] = []
    print(_row(tuple(_COLUMNS)), file=output, flush=True)
    for request in found:
        if request.kernel in chosen:
            results.append(compiled(request))
            print(_row(results[-1]), file=output, flush=True)
    if as_json:
        print(json.dumps({"kernels": [each._asdict() for each in results]}))


def _row(values: Sequence[object]) -> str:
    """Returns a line of the table; names are aligned on the left, numbers on the right."""
    cells = []
    for (name, width), value in zip(_COLUMNS.items(), values, strict=True):
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        cells.append(f"{text:<{width}}" if name in ("kernel", "sm", "precision") else f"{text:>{width}}")
    return "".join(cells)


if __name__ == "__main__":
    run(main)
