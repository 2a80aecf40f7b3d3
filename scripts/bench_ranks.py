"""Times a training step on ranks that share its example, and shows the memory of a rank.

    OMP_NUM_THREADS=1 scripts/bench_ranks.py RECIPE --ranks 1,2 --tokens 131072 --repeats 2 KEY=VALUE ...

For each number of ranks, that many processes of this machine train on random tokens; the numbers alternate, so that all
see the same load. Prints for the last step its time, the processor time of the busiest rank (which does not depend on
other work), and the peak memory of a rank beyond what it held before the model.
"""

import json
import os
import subprocess
import sys
import time
from typing import Annotated

import typer

from bench.command import run
from revlm.launch import launch_of, local_ranks
from revlm.model import RevLM, resolve_model, tile_tokens
from revlm.ops.heap import keep_large_blocks_apart
from revlm.recipe import Recipe, load_recipe
from revlm.runs import MemoryMeter
from revlm.text import human_bytes
from revlm.training.measurement import random_example
from revlm.training.optimization import make_optimizer
from revlm.training.ranks import join_ranks
from revlm.training.step import Totals, TrainStep

VOCAB_SIZE = 512


def work(recipe: Recipe, steps: int) -> list[dict[str, float]]:
    """Returns what the last step took on each rank; called in each of the processes."""
    with join_ranks(launch_of(os.environ), recipe.train.sequence_parallel) as ranks:
        device = ranks.device(recipe.train.device)
        keep_large_blocks_apart()
        meter = MemoryMeter(device)
        model_recipe = resolve_model(recipe.model, recipe.data.seq_len)
        tile = tile_tokens(model_recipe, recipe.train.tile, device.type)
        model = RevLM(model_recipe, vocab_size=VOCAB_SIZE, seed=recipe.seed, tile=tile).to(device)
        train_step = TrainStep(recipe, model, make_optimizer(model, recipe, ranks), ranks, meter, lambda: None)
        for step in range(steps):
            meter.start_step()
            example = random_example(recipe.data.seq_len, VOCAB_SIZE, step)
            start, processor_start = time.perf_counter(), time.process_time()
            train_step.update([example], step, Totals.of([example], ranks), recipe.optimizer.lr)
            seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
        peaks = [size for name, size in meter.peaks().items() if size and name.endswith("_peak_bytes")]
        return ranks.gather(
            {
                "seconds": seconds,
                "processor_seconds": processor_seconds,
                "peak_bytes": max(peaks) - meter.baseline_bytes,
                "process_bytes": max(peaks),
            }
        )


def measured(recipe: Recipe, steps: int) -> dict[str, float]:
    """Starts the processes; returns the largest of each number over them."""
    command = [sys.executable, __file__, "--worker", str(steps)]
    processes = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for environment in local_ranks(recipe.train.sequence_parallel)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(recipe.model_dump_json())
        process.stdin.close()
    said = [process.stdout.read() for process in processes if process.stdout is not None]
    if any(process.wait() for process in processes):
        raise SystemExit("a rank failed: its message is above")
    of_ranks = json.loads(said[0])
    return {name: max(each[name] for each in of_ranks) for name in of_ranks[0]}


def main(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or name of a bundled recipe.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe.")] = None,
    ranks: Annotated[str, typer.Option(help="Numbers of ranks.")] = "1,2",
    tokens: Annotated[str, typer.Option(help="Tokens of the example; one number, or one for each.")] = "131072",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each process; the last one counts.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="How often each number of ranks has its turn.")] = 1,
) -> None:
    """Time a step of one example on several numbers of ranks."""
    numbers = [int(number) for number in ranks.split(",")]
    lengths = [int(length) for length in tokens.split(",")] * (len(numbers) if "," not in tokens else 1)
    print("ranks     tokens   seconds   processor seconds of a rank   memory of a rank   with its process")
    for _ in range(repeats):
        for number, length in zip(numbers, lengths, strict=True):
            changes = [*(overrides or []), f"train.sequence_parallel={number}", f"data.seq_len={length}"]
            found = measured(load_recipe(recipe, changes), steps)
            print(
                f"{number:5}  {length:9,}  {found['seconds']:8.1f}  {found['processor_seconds']:28.1f}"
                f"  {human_bytes(round(found['peak_bytes'])):>17}  {human_bytes(round(found['process_bytes'])):>17}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        json.dump(work(Recipe.model_validate(json.load(sys.stdin)), int(sys.argv[2])), sys.stdout)
    else:
        run(main)
