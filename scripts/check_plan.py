"""Compares `revlm plan` with measured steps, for recipes that vary everything that determines memory.

A plan is good if each phase of the step is within 10% or 32 MiB of the measurement, excluding what the process held
before there was a model. The exit code is 1 if one is not.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.command import run, words
from bench.files import machine, make_folder, write_json
from bench.plan_cases import CASES
from bench.plan_check import Checked, beyond_bound, check_table
from bench.precisions import NATIVE_PRECISIONS
from revlm.errors import UsageError
from revlm.planning import plan_memory
from revlm.training.measurement import measure_step

_NAMES = tuple(case.name for case in CASES)
NATIVE_CASES = tuple(case.name for case in CASES if case.precision in NATIVE_PRECISIONS)


def main(
    recipes: Annotated[str, typer.Option(help="Recipes, comma-separated.")] = ",".join(NATIVE_CASES),
    measured: Annotated[
        Path | None, typer.Option(help="Use the measured steps of this plan.json, while working on the plan.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for plan.json.")] = Path("bench"),
) -> None:
    """Plan and measure a step of each recipe; write JSON, print a table."""
    chosen = words(recipes, _NAMES, "--recipes")
    make_folder(output)
    known = {} if measured is None else _measured_before(measured)
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    head = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine()}
    checked: list[Checked] = []
    for case in (case for case in CASES if case.name in chosen):
        if case.name not in known:
            messages.print(f"{case.name}: steps of {case.tokens:,} tokens, {case.layers} layers")
        peaks = known.get(case.name) or measure_step(case.recipe, case.vocab_size)
        planned = plan_memory(case.recipe, case.vocab_size, "cpu")
        checked.append(Checked(case, {phase: planned.phase_bytes(phase) for phase in peaks}, peaks))
        write_json(output / "plan.json", {**head, "recipes": [each.to_json() for each in checked]})
    console = Console(width=200, highlight=False)
    console.print(check_table(checked))
    console.print(str(output / "plan.json"))
    if misses := list(beyond_bound(checked)):
        for sentence in misses:
            messages.print(sentence)
        raise typer.Exit(1)


def _measured_before(file: Path) -> dict[str, dict[str, int]]:
    """Returns the measured peaks of unchanged cases; raises UsageError where the file is not a plan.json."""
    try:
        recipes = json.loads(file.read_bytes())["recipes"]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"--measured {file} is not a plan.json of this script: give the file of an earlier run"
        ) from error
    same = {case.name: json.loads(json.dumps(asdict(case))) for case in CASES}
    return {x["case"]["name"]: x["measured"] for x in recipes if x["case"] == same.get(x["case"]["name"])}


if __name__ == "__main__":
    run(main)
