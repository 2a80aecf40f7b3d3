"""One model in a separate process: `python -m bench.quality.worker TASK RESULT`, both JSON files."""

import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bench.quality.rivals import RIVALS
from bench.quality.texts import Texts
from bench.quality.training import Budget, trained_within
from bench.worker import write_result


@dataclass(frozen=True)
class Task:
    """What one process trains: a rival with settings, within seconds of processor time or tokens of text.

    `texts` is a folder of `write_texts`, `store` the token store that it was written from, `recipe` that of revlm.
    """

    rival: str
    seed: int
    settings: dict[str, Any]
    seconds: float | None
    tokens: int | None
    held_out_tokens: int
    recipe: str
    store: str
    texts: str

    def to_json(self) -> dict[str, Any]:
        """Returns the task as plain values."""
        return asdict(self)


def train(task: Task) -> dict[str, Any]:
    """Returns the score of a newly trained model and what it took, in one thread."""
    torch.set_num_threads(1)
    rival, texts = RIVALS[task.rival], Texts.open(task.texts)
    settings = dict(task.settings)
    if rival.requires == "revlm":
        settings |= {"recipe": task.recipe, "store": task.store, "held_out_tokens": task.held_out_tokens}
    budget = Budget(task.seconds, None if task.tokens is None else task.tokens * texts.bytes_per_token)
    learner = rival.learner(texts, task.seed, settings)
    result = trained_within(learner, budget, settings["learning_rate"], texts.held_out_size)
    return {**result, "trained_tokens": round(result["text_bytes"] / texts.bytes_per_token)}


if __name__ == "__main__":
    write_result(lambda values: train(Task(**values)), *sys.argv[1:])
