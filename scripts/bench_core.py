"""Profiles a training step: each operation in isolation, compared with the machine's rates, and their sum.

Use it to guide work on speed. The model and the example are those of `bench_peers.py`.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from rich.console import Console

from bench.command import run, words
from bench.core_table import MeasuredPart, core_table, rates_sentence
from bench.files import machine, make_folder, write_json
from bench.parts import parts_of
from bench.precisions import NATIVE_PRECISIONS, PRECISIONS
from bench.rates import measure_rates, timed
from bench.shape import Shape, random_example
from bench.systems.reversible import build
from revlm.model.precision import autocast


def main(
    tokens: Annotated[int, typer.Option(min=256, help="Tokens of the example.")] = 65536,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the whole step, all of kind lsh.")] = 6,
    precisions: Annotated[str, typer.Option(help="Comma-separated; bf16 is autocast.")] = ",".join(NATIVE_PRECISIONS),
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions of each operation; medians are shown.")] = 5,
    step_repeats: Annotated[int, typer.Option(min=1, help="Repetitions of the whole step.")] = 3,
    output: Annotated[Path, typer.Option(help="Folder for core.json.")] = Path("bench"),
) -> None:
    """Measure each operation of a training step; write JSON, print tables."""
    shape, chosen = Shape(tokens, layers=layers), words(precisions, PRECISIONS, "--precisions")
    torch.manual_seed(0)
    make_folder(output)
    rates = measure_rates(chosen)
    console, messages = Console(width=160, highlight=False), Console(stderr=True, highlight=False)
    console.print(rates_sentence(rates))
    head = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine(), "shape": vars(shape)}
    figures = {}
    for precision in chosen:
        parts = []
        for part in parts_of(shape, precision):
            messages.print(f"{precision}: {part.name}")
            with autocast(precision, "cpu"):
                seconds = median(timed(part.prepare(), repeats))
            parts.append(MeasuredPart(part, seconds, rates.product_flops[precision], rates.copy_bytes))
        messages.print(f"{precision}: forward and backward")
        whole = median(timed(_step(shape, precision), step_repeats))
        title = f"{precision}, {tokens:,} tokens, {layers} layers"
        console.print(core_table(title, parts, whole))
        figures[precision] = {"step_seconds": whole, "parts": [part.to_json() for part in parts]}
    write_json(output / "core.json", {**head, "rates": rates._asdict(), "precisions": figures})
    console.print(str(output / "core.json"))


def _step(shape: Shape, precision: str) -> Callable[[], None]:
    model, loss = build(shape, reversible=True)
    inputs, targets = random_example(shape, 0)

    def forward_and_backward() -> None:
        model.zero_grad(set_to_none=True)
        with autocast(precision, "cpu"):
            nats = loss(inputs, targets)
        nats.backward()

    return forward_and_backward


if __name__ == "__main__":
    run(main)
