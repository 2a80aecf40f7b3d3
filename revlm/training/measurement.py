"""Measures the memory of real steps in separate processes, for comparison with a plan.

`python -m revlm.training.measurement VOCAB_SIZE` reads a recipe as JSON from standard input and writes the peaks as
JSON to standard output. There are `train.sequence_parallel` processes, the ranks of one run.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from revlm.corpus import Example
from revlm.errors import ResourceError, UsageError
from revlm.imports import python_module
from revlm.launch import launch_of, local_ranks
from revlm.model import RevLM, resolve_model, tile_tokens
from revlm.ops.heap import keep_large_blocks_apart, return_freed_memory
from revlm.recipe import Recipe
from revlm.records import PHASES
from revlm.runs import MemoryMeter
from revlm.training.optimization import make_optimizer
from revlm.training.ranks import Ranks, join_ranks
from revlm.training.step import Totals, TrainStep

STEPS = 3


def measure_step(recipe: Recipe, vocab_size: int) -> dict[str, int]:
    """Returns the peak in bytes of each phase of a step on random tokens, above what the process held before the model.

    The first step does not count: it allocates the optimizer's state and warms up the allocator. The later steps find
    the heap in different states; the largest of their peaks counts.

    Raises:
        ResourceError: a process ended before its steps did, such as when memory ran out.
        UsageError: this system does not report peaks by phase.
    """
    ranks = recipe.train.sequence_parallel
    command, started = python_module("revlm.training.measurement", vocab_size), list[subprocess.Popen[str]]()
    for environment in local_ranks(ranks):
        started.append(
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    with ThreadPoolExecutor(ranks) as threads:
        ended = list(threads.map(lambda process: process.communicate(recipe.model_dump_json()), started))
    for process, (_, errors) in zip(started, ended, strict=True):
        if process.returncode:
            cause = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
            raise ResourceError(f"the measured step did not finish ({cause}): measure shorter examples")
    measured: dict[str, int] | None = json.loads(ended[0][0])
    if measured is None:
        raise UsageError("this system does not report the peak memory of part of a process: plan without --measure")
    return measured


def _measure_here(recipe: Recipe, vocab_size: int) -> dict[str, int] | None:
    with join_ranks(launch_of(os.environ), recipe.train.sequence_parallel) as ranks:
        return _measure_on(ranks, recipe, vocab_size)


def _measure_on(ranks: Ranks, recipe: Recipe, vocab_size: int) -> dict[str, int] | None:
    device = ranks.device(recipe.train.device)
    keep_large_blocks_apart()
    meter = MemoryMeter(device)
    if not meter.peaks_by_phase:
        return None
    tokens, model_recipe = recipe.data.seq_len, resolve_model(recipe.model, recipe.data.seq_len)
    tile = tile_tokens(model_recipe, recipe.train.tile, device.type)
    model = RevLM(model_recipe, vocab_size=vocab_size, seed=recipe.seed, tile=tile).to(device)
    optimizer = make_optimizer(model, recipe, ranks)
    examples = recipe.train.gradient_accumulation_steps
    train_step = TrainStep(recipe, model, optimizer, ranks, meter, lambda: None)
    largest = dict.fromkeys(PHASES, 0)
    for step in range(STEPS):
        meter.start_step()
        sampled = [random_example(tokens, vocab_size, step * examples + number) for number in range(examples)]
        train_step.update(sampled, step * examples, Totals.of(sampled, ranks), recipe.optimizer.lr)
        return_freed_memory()
        if step > 0:
            peaks = meter.peaks()
            for phase, before in largest.items():
                largest[phase] = max(before, (peaks[f"memory_{phase}_peak_bytes"] or 0) - meter.baseline_bytes)
    of_ranks = ranks.gather(largest)
    return {phase: max(each[phase] for each in of_ranks) for phase in PHASES}


def random_example(tokens: int, vocab_size: int, seed: int) -> Example:
    """An example of random tokens, the same on every rank."""
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = torch.randint(0, vocab_size, (2, tokens), dtype=torch.int32, generator=generator).numpy()
    return Example(inputs, targets, np.zeros_like(inputs), ("random tokens",), epoch=1, target_bytes=tokens)


if __name__ == "__main__":
    json.dump(_measure_here(Recipe.model_validate(json.load(sys.stdin)), int(sys.argv[1])), sys.stdout)
