"""Compares the speed and memory of revlm with its peers: one training example, forward and backward.

Each measurement runs in a separate process: same shapes, same tokens, interleaved repetitions, medians. The peers are
in the dependency group `bench`, which `make bench` installs. The full step of a million tokens:

    scripts/bench_peers.py --full-step --systems revlm --precisions bf16 --lengths 1048576 --layers 12 --repeats 1
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.command import numbers, run, words
from bench.files import machine, make_folder, write_json
from bench.precisions import NATIVE_PRECISIONS, PRECISIONS
from bench.schedule import Suite, measurements
from bench.summary import Cell, Measurement, rows, seconds_of
from bench.systems import SYSTEMS
from bench.table import CAPTION, tables, undone
from bench.worker import Task
from revlm.errors import UsageError
from revlm.imports import inside
from revlm.runs.machine import memory_limit_bytes
from revlm.text import human_bytes

# Share of the machine's memory; the rest is for the system and this process.
_MEMORY_SHARE = 0.9
# A whole number of chunks for every system, also in the warm-up.
_SMALLEST_LENGTH = 256
_CHOICES = tuple(name for name, system in SYSTEMS.items() if system.on_cpu)


def main(
    systems: Annotated[str, typer.Option(help="Systems, comma-separated.")] = ",".join(_CHOICES),
    precisions: Annotated[
        str, typer.Option(help="bf16 is autocast: over revlm's whole step, over the forward pass of the others.")
    ] = ",".join(NATIVE_PRECISIONS),
    lengths: Annotated[str, typer.Option(help="Tokens of the example, powers of two.")] = "16384,65536,262144",
    layers: Annotated[
        str, typer.Option(help="Depths: the first for all systems at each length, all for revlm at --depth-tokens.")
    ] = "6,12,24,48",
    depth_tokens: Annotated[int, typer.Option(help="Tokens of the example at each depth.")] = 16384,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions; medians are shown.")] = 3,
    once_beyond: Annotated[float, typer.Option(help="A step that takes longer, in seconds, is not repeated.")] = 300.0,
    seconds_limit: Annotated[float, typer.Option(help="Seconds that one measurement may take.")] = 1800.0,
    full_step: Annotated[bool, typer.Option("--full-step", help="Clip gradients and run AdamW as well.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="PyTorch threads; default: PyTorch's choice.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the tokens and the weights.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for peers.json and the pictures.")] = Path("bench"),
) -> None:
    """Measure revlm and its peers; write JSON and pictures, print tables."""
    suite = Suite(
        systems=words(systems, _CHOICES, "--systems"),
        precisions=words(precisions, PRECISIONS, "--precisions"),
        lengths=numbers(lengths, "--lengths"),
        layers=numbers(layers, "--layers"),
        depth_tokens=depth_tokens,
        repeats=repeats,
        once_beyond_seconds=once_beyond,
        seconds_limit=seconds_limit,
        memory_limit_bytes=round(_MEMORY_SHARE * memory_limit_bytes()),
        seed=seed,
        full_step=full_step,
        threads=threads,
    )
    for tokens in (*suite.lengths, suite.depth_tokens):
        if tokens < _SMALLEST_LENGTH or tokens & (tokens - 1):
            raise UsageError(
                f"a length of {tokens}: give powers of two from {_SMALLEST_LENGTH} up, which every system supports"
            )
    make_folder(output)
    measured = _measure(suite, output / "peers.json")
    results = rows(measured)
    console = Console(width=180)
    for table in tables(results):
        console.print(table)
    with inside(Path(__file__).parent):  # matplotlib obeys a matplotlibrc where it is imported
        from bench.pictures import write_pictures

    pictures = [str(picture) for picture in write_pictures(output, results, suite)]
    for sentence in [CAPTION, *undone(results), *pictures, str(output / "peers.json")]:
        console.print(sentence, highlight=False)


def _measure(suite: Suite, file: Path) -> list[Measurement]:
    """Returns all measurements; the file is rewritten after each, so an interruption loses at most one."""
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    head = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine(), "plan": asdict(suite)}
    measured: list[Measurement] = []
    for event in measurements(suite):
        if isinstance(event, Task):
            messages.print(_name(event), end=": ")
            continue
        measured.append(event)
        messages.print(_outcome(event))
        figures = {"rows": [row.to_json() for row in rows(measured)], "measurements": [x.to_json() for x in measured]}
        write_json(file, head | figures)
    return measured


def _name(task: Task) -> str:
    system, precision, tokens, layers = Cell.of(task)
    return f"{SYSTEMS[system].label}, {precision}, {tokens:,} tokens, {layers} layers"


def _outcome(measurement: Measurement) -> str:
    result = measurement.result
    if result["status"] == "not_tried":
        return f"{_name(measurement.task)}: {result['cause']}"
    if result["status"] != "done":
        return str(result["cause"])
    return f"{seconds_of(result):,.1f} s, peak {human_bytes(result['memory_peak_bytes'])}"


if __name__ == "__main__":
    run(main)
