"""Compares tokens per second after contexts of any length with the Reformer of `transformers`.

revlm prefills a text of each length with one model and samples tokens after each in turn; the Reformer, whose model has
a fixed length, does so at one length. Same shapes, random weights, separate processes. The dependency group `bench`
installs the peer.

    scripts/bench_generate.py --layers local,lsh --contexts 1024,16384 --precisions bf16
"""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.alone import measure_alone
from bench.command import numbers, pattern, run, words
from bench.files import machine, make_folder, write_json
from bench.generating.systems import SYSTEMS
from bench.generating.table import CAPTION, ratios, rows, sentences, table
from bench.generating.worker import WARM_UP_TOKENS, Task
from bench.precisions import NATIVE_PRECISIONS, PRECISIONS
from bench.shape import Shape
from revlm.errors import UsageError
from revlm.runs.machine import memory_limit_bytes
from revlm.text import human_bytes

# Share of the machine's memory; the rest is for the system and this process.
_MEMORY_SHARE = 0.9


def main(
    systems: Annotated[str, typer.Option(help="Systems, comma-separated.")] = ",".join(SYSTEMS),
    precisions: Annotated[str, typer.Option(help="Precisions of the matrix products, comma-separated.")] = ",".join(
        NATIVE_PRECISIONS
    ),
    contexts: Annotated[
        str, typer.Option(help="Context lengths in tokens, comma-separated.")
    ] = "1024,16384,131072,524288",
    peer_context: Annotated[int, typer.Option(help="The peer's context length, a power of two.")] = 16384,
    layers: Annotated[str, typer.Option(help="Pattern of revlm's layer kinds.")] = "lsh",
    n_layers: Annotated[int, typer.Option(min=1, help="Layers of every system.")] = 6,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens sampled in one stretch.")] = 50,
    stretches: Annotated[int, typer.Option(min=1, help="Stretches at each context; medians are shown.")] = 3,
    seconds_limit: Annotated[float, typer.Option(help="Seconds that one system may take.")] = 3600.0,
    threads: Annotated[int | None, typer.Option(min=1, help="PyTorch threads; default: PyTorch's choice.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the tokens and the weights.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for generate.json.")] = Path("bench"),
) -> None:
    """Measure the speed of generation; write JSON, print a table."""
    of_revlm = tuple(sorted(numbers(contexts, "--contexts")))
    if peer_context < 2 or peer_context & (peer_context - 1):
        raise UsageError(f"--peer-context is {peer_context}: give a power of two")
    drawn = WARM_UP_TOKENS + tokens * stretches
    if drawn > peer_context:
        raise UsageError(
            f"--peer-context is {peer_context} and {drawn} tokens are sampled after it: give more, or lower --tokens"
        )
    make_folder(output)
    texts = {
        "revlm": (Shape(of_revlm[-1], layers=n_layers), of_revlm),
        "transformers": (Shape(2 * peer_context, layers=n_layers), (peer_context,)),
    }
    tasks = [
        Task(
            system,
            precision,
            pattern(layers, ("local", "lsh", "full"), "--layers"),
            *texts[system],
            tokens,
            stretches,
            seed,
            threads,
        )
        for system in words(systems, tuple(SYSTEMS), "--systems")
        for precision in words(precisions, PRECISIONS, "--precisions")
    ]
    measured = _measure(tasks, seconds_limit, output / "generate.json")
    console, results = Console(width=120, highlight=False), rows(measured)
    console.print(table(results))
    for sentence in [*sentences(results, measured), CAPTION, str(output / "generate.json")]:
        console.print(sentence, soft_wrap=True)


def _measure(tasks: list[Task], seconds_limit: float, file: Path) -> list[tuple[Task, dict[str, Any]]]:
    """Returns all measurements; the file is rewritten after each, so an interruption loses at most one."""
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    head = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine()}
    measured: list[tuple[Task, dict[str, Any]]] = []
    for task in tasks:
        messages.print(f"{SYSTEMS[task.system].label}, {task.precision}", end=": ")
        if SYSTEMS[task.system].is_installed:
            result = measure_alone(
                task,
                seconds_limit=seconds_limit,
                memory_limit_bytes=round(_MEMORY_SHARE * memory_limit_bytes()),
                worker="bench.generating.worker",
            )
        else:
            result = {"status": "not_tried", "cause": f"{SYSTEMS[task.system].requires} is not installed"}
        measured.append((task, result))
        messages.print(
            f"peak {human_bytes(result['seen_peak_bytes'])}" if result["status"] == "done" else result["cause"]
        )
        results = rows(measured)
        figures = {
            "rows": [{**row._asdict(), "tokens_per_second": row.tokens_per_second} for row in results],
            "ratios": ratios(results),
            "measurements": [{**of.to_json(), **what} for of, what in measured],
        }
        write_json(file, head | figures)
    return measured


if __name__ == "__main__":
    run(main)
