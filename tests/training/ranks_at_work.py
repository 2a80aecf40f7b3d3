"""What the tests of several ranks let each of them do; all of it also works alone."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from revlm.corpus import Loader, open_corpus
from revlm.launch import launch_of
from revlm.model import resolve_model
from revlm.recipe import Recipe
from revlm.runs import MemoryMeter, list_checkpoints, load_checkpoint
from revlm.training import train
from revlm.training.ranks import join_ranks
from revlm.training.trainer import Trainer
from tests.tiny_run import tiny_recipe

Arrays = dict[str, np.ndarray]


def several_recipe(folder: Path, *overrides: str) -> Recipe:
    """Twelve examples, of documents of many lengths, in three steps, with all that a run does beside them."""
    return tiny_recipe(
        folder,
        "train.gradient_accumulation_steps=4",
        "data.seq_len=700",
        "data.validation=0.3",
        "evaluate.every=2",
        "evaluate.sample_tokens=3",
        "checkpoint.every=1",
        *overrides,
    )


def gradients(recipe: Recipe) -> tuple[Arrays, dict[str, Any]]:
    """The gradients of the first step before they are clipped, and its record."""
    recipe = recipe.model_copy(update={"model": resolve_model(recipe.model, recipe.data.seq_len)})
    device, found = torch.device("cpu"), Arrays()
    with join_ranks(launch_of(os.environ)) as ranks:
        corpus = open_corpus(recipe.data, recipe.seed)
        with Trainer(recipe, corpus, ranks, device, MemoryMeter(device), lambda: None) as trainer:
            clip = torch.nn.utils.clip_grad_norm_

            def keep(parameters: Any, most: float) -> torch.Tensor:
                for name, parameter in trainer.model.named_parameters():
                    found[name] = parameter.grad.numpy().copy()
                return clip(parameters, most)

            torch.nn.utils.clip_grad_norm_ = keep
            record = trainer.train_step()
            torch.nn.utils.clip_grad_norm_ = clip
    return found, record


def trained(recipe: Recipe, until: int | None = None) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """The records of a run, and the tokens of each of this rank's examples.

    With `until` it is left in the step after that, and goes on from there.
    """
    taken: list[list[int]] = []
    next_example = Loader.__next__

    def noted(loader: Loader) -> Any:
        example = next_example(loader)
        taken.append(example.targets.tolist())
        return example

    Loader.__next__ = noted  # type: ignore[method-assign]
    records, run = [], train(recipe)
    for record in run:
        records.append(record)
        if until is not None and record["step"] > until:
            run.close()
            break
    Loader.__next__ = next_example  # type: ignore[method-assign]
    return records, taken


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a run's last checkpoint, but chance that nothing depends on."""
    checkpoint = load_checkpoint(list_checkpoints(folder)[-1])
    return {
        f"{group}.{name}": tensor
        for group in ("model", "optimizer")
        for name, tensor in checkpoint.tensors[group].items()
    }


def in_order(taken: list[list[list[int]]], per_step: int) -> list[list[int]]:
    """The examples of all ranks in the order of the stream, from those that each has taken."""
    ranks = len(taken)
    own = [len(range(rank, per_step, ranks)) for rank in range(ranks)]
    steps = len(taken[0]) // own[0]
    return [
        taken[number % ranks][step * own[number % ranks] + number // ranks]
        for step in range(steps)
        for number in range(per_step)
    ]
