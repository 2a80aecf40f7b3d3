"""Compares the quality of revlm with other language models: each trains for the same time, or on as much text.

    scripts/bench_quality.py data/novels --seconds 135
    scripts/bench_quality.py data/novels --tokens 2457600

Every model trains in its own process, in one thread, on the same novels, and is scored in bits per byte on the same
held-out text, which the seed chooses. Processor time counts, so other work on the machine does not, although it slows
every model down. `mblm` takes part if it is installed: `pip install mblm==0.4.2`. The same command resumes an
interrupted comparison.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.command import numbers, run, words
from bench.files import machine, make_folder, write_json
from bench.quality.rivals import RIVALS
from bench.quality.schedule import Measured, Plan, Run, comparisons, measurements, searches
from revlm.errors import StorageError, UsageError
from revlm.imports import inside
from revlm.text import human_duration


def main(
    store: Annotated[Path, typer.Argument(help="Token store of `revlm tokenize`.")],
    rivals: Annotated[str, typer.Option(help="Models, comma-separated.")] = ",".join(RIVALS),
    seeds: Annotated[str, typer.Option(help="Seeds of weights and of held-out novels, comma-separated.")] = "42,43,44",
    seconds: Annotated[float | None, typer.Option(help="Seconds of processor time for each; default: 135.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Instead of seconds: tokens of text for each.")] = None,
    search_share: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Share of the budget for each setting in the search.")
    ] = 0.2,
    held_out_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the held-out text.")] = 131072,
    recipe: Annotated[str, typer.Option(help="Recipe of revlm, a name or a file.")] = "novels",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")] = Path("bench"),
) -> None:
    """Train revlm and its rivals within one budget, and compare their bits per byte."""
    if seconds is not None and tokens is not None:
        raise UsageError("--seconds and --tokens are two budgets: give one of them")
    plan = Plan(
        rivals=words(rivals, tuple(RIVALS), "--rivals"),
        seeds=numbers(seeds, "--seeds"),
        seconds=135.0 if seconds is None and tokens is None else seconds,
        tokens=tokens,
        search_share=search_share,
        held_out_tokens=held_out_tokens,
        recipe=recipe,
        store=str(store.resolve()),
    )
    make_folder(output)
    name = "quality" if tokens is None else "quality-tokens"
    measured = _measure(plan, output / f"{name}.json")
    with inside(Path(__file__).parent):  # matplotlib obeys a matplotlibrc where it is imported
        from bench.quality.summary import picture, rows, table
        from revlm.report.files import write_whole

    found = rows(measured)
    if found:
        budget = f"{plan.seconds:g} processor seconds" if plan.tokens is None else f"{plan.tokens:,} tokens"
        write_whole(output / f"{name}.png", picture(found, budget))
    if as_json:
        print(json.dumps({"plan": asdict(plan), "rows": [row.to_json() for row in found], "measurements": measured}))
        return
    console = Console(width=180)
    console.print(table(found))
    for each in measured:
        if each["status"] != "done":
            console.print(f"{_name(each['rival'], each['seed'], each['settings'])}: {each['cause']}", highlight=False)


def _measure(plan: Plan, file: Path) -> list[Measured]:
    """Returns the measurements of a plan; the file keeps those of earlier calls, and is rewritten after each."""
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    kept = _kept(file)

    def tell(run: Run, left: Sequence[Run]) -> None:
        about = sum(each.key(plan)["seconds"] or 0.0 for each in [run, *left])
        estimate = f", {human_duration(about)} of training left" if about else ""
        messages.print(f"{run.phase}: {_name(run.rival, run.seed, run.settings)} ({len(left) + 1} to do{estimate})")

    def measure(runs: "list[Run]") -> list[Measured]:
        found = []
        for each in measurements(plan, runs, kept, tell):
            found.append(each)
            if each not in kept:
                kept.append(each)
                messages.print(f"    {_outcome(each)}")
                write_json(file, {"machine": machine(), "measurements": kept})
        return found

    searched = measure(searches(plan))
    return searched + measure(comparisons(plan, searched))


def _kept(file: Path) -> list[Measured]:
    """The measurements that a file holds, without those that failed."""
    if not file.exists():
        return []
    try:
        return [each for each in json.loads(file.read_text())["measurements"] if each["status"] == "done"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{file} is not a file of results: remove it, or give another folder to --output") from error


def _name(rival: str, seed: int, settings: Any) -> str:
    return f"{RIVALS[rival].label}, seed {seed}, " + ", ".join(f"{key} {value}" for key, value in settings.items())


def _outcome(measured: Measured) -> str:
    if measured["status"] != "done":
        return str(measured["cause"])
    return (
        f"{measured['bits_per_byte']:.3f} bits per byte, {measured['processor_seconds']:.0f} s of the processor in "
        f"{human_duration(measured['process_seconds'])}, {measured['trained_tokens']:,} tokens"
    )


if __name__ == "__main__":
    run(main)
