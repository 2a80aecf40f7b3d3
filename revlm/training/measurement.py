"""Measures the memory of real steps in a separate process, to check a plan against.

`python -m revlm.training.measurement VOCAB_SIZE` reads a recipe as JSON from standard input and writes the peaks as
JSON to standard output.
"""

import json
import subprocess
import sys

import numpy as np
import torch

from revlm.corpus import Example
from revlm.errors import ResourceError, UsageError
from revlm.imports import python_module
from revlm.model import RevLM, resolve_model, tile_tokens
from revlm.ops.heap import keep_large_blocks_apart, return_freed_memory
from revlm.recipe import Recipe
from revlm.records import PHASES
from revlm.runs import MemoryMeter, choose_device
from revlm.training.optimizer import make_optimizer
from revlm.training.ranks import Ranks
from revlm.training.step import Totals, TrainStep

STEPS = 3


def measure_step(recipe: Recipe, vocab_size: int) -> dict[str, int]:
    """Returns the peak in bytes of each phase of a step on random tokens, above what the process held before the model.

    The first step does not count: it allocates the optimizer's state and warms up the allocator. The later steps find
    the heap in different states; the largest of their peaks counts.

    Raises:
        ResourceError: the process ended before its steps did, as it does when memory runs out.
        UsageError: this system does not report peaks by phase.
    """
    command = python_module("revlm.training.measurement", vocab_size)
    finished = subprocess.run(command, input=recipe.model_dump_json(), capture_output=True, text=True)
    if finished.returncode:
        cause = (finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1]
        raise ResourceError(f"the measured step did not finish ({cause}): measure shorter examples")
    measured: dict[str, int] | None = json.loads(finished.stdout)
    if measured is None:
        raise UsageError("this system does not report the peak memory of part of a process: plan without --measure")
    return measured


def _measure_here(recipe: Recipe, vocab_size: int) -> dict[str, int] | None:
    device = choose_device(recipe.train.device)
    keep_large_blocks_apart()
    meter = MemoryMeter(device)
    if not meter.peaks_by_phase:
        return None
    tokens, model_recipe = recipe.data.seq_len, resolve_model(recipe.model, recipe.data.seq_len)
    tile = tile_tokens(model_recipe, recipe.train.tile, device.type)
    model = RevLM(model_recipe, vocab_size=vocab_size, seed=recipe.seed, tile=tile).to(device)
    optimizer = make_optimizer(model, recipe, Ranks())
    examples = recipe.train.gradient_accumulation_steps
    train_step = TrainStep(recipe, model, optimizer, Ranks(), meter, lambda: None)
    largest = dict.fromkeys(PHASES, 0)
    for step in range(STEPS):
        meter.start_step()
        sampled = [_random_example(tokens, vocab_size) for _ in range(examples)]
        train_step.update(sampled, step * examples, Totals.of(sampled, Ranks()), recipe.optimizer.lr)
        return_freed_memory()
        if step > 0:
            peaks = meter.peaks()
            for phase, before in largest.items():
                largest[phase] = max(before, (peaks[f"memory_{phase}_peak_bytes"] or 0) - meter.baseline_bytes)
    return largest


def _random_example(tokens: int, vocab_size: int) -> Example:
    inputs, targets = torch.randint(0, vocab_size, (2, tokens), dtype=torch.int32).numpy()
    return Example(inputs, targets, np.zeros_like(inputs), ("random tokens",), epoch=1, target_bytes=tokens)


if __name__ == "__main__":
    json.dump(_measure_here(Recipe.model_validate(json.load(sys.stdin)), int(sys.argv[1])), sys.stdout)
