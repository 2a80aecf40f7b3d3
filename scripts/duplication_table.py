"""Prints the table of the duplication task: hash rounds in training against rounds in evaluation.

    scripts/duplication_table.py runs/copy runs/copy-2 runs/copy-1 runs/copy-full

Each run is evaluated on its held-out texts, by the share of correctly predicted symbols of the second w of 0w0w, given
all of the text before them (arXiv 2001.04451, table 2). `full` lets a hash layer attend to all earlier tokens.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer

from bench.command import numbers, run
from revlm.corpus import Example, open_corpus
from revlm.errors import DataError
from revlm.evaluation.switches import rounds_of_hashing
from revlm.generation import TrainedModel, load_model
from revlm.model import RevLM
from revlm.model.kinds.lsh import HashAttention
from revlm.model.precision import autocast, precision_of_evaluation

FULL = "full"


@contextmanager
def full_attention(model: RevLM) -> Iterator[None]:
    """Makes hash layers attend to all earlier tokens inside the `with` block: one bucket, and an unlimited window."""
    mixes = [mix for layer in model.hash_layers if isinstance(mix := model.attention(layer).mix, HashAttention)]
    window = model.recipe.window
    with rounds_of_hashing(model, 1):  # restores the rotations at its end
        for layer in model.hash_layers:
            name = f"rotations_{layer}"
            # With zero directions all tokens have the same hash.
            setattr(model, name, torch.zeros_like(model.get_buffer(name)))
        try:
            for mix in mixes:
                mix.window = 2**24
            yield
        finally:
            for mix in mixes:
                mix.window = window


@torch.no_grad()
def accuracy(model: RevLM, texts: Iterable[Example], precision: torch.autocast) -> float:
    """Returns the share of correctly predicted symbols in the second w of all texts 0w0w."""
    right = symbols = 0
    for text in texts:
        inputs, targets = (torch.from_numpy(part).to(model.head_weight.device) for part in (text.inputs, text.targets))
        repeated = slice(len(text) // 2 + 1, None)
        with precision:
            predicted = model.logits(model(inputs)[repeated]).argmax(-1)
        right += int((predicted == targets[repeated]).sum())
        symbols += len(predicted)
    return right / symbols


def held_out_texts(trained: TrainedModel, at_most: int) -> list[Example]:
    """Returns the first `at_most` held-out texts of a run.

    Raises:
        DataError: it has none.
    """
    corpus = open_corpus(trained.recipe.data, trained.recipe.seed)
    texts = [text for _, pieces in corpus.documents(held_out=True) for _, text in pieces]
    if not texts:
        raise DataError(f"{corpus.name} has no held-out text: train with data.validation above 0")
    return texts[:at_most]


def main(
    runs: Annotated[list[Path], typer.Argument(help="Runs of the recipe copy.")],
    rounds: Annotated[str, typer.Option(help="Hash rounds in evaluation, comma-separated.")] = "8,4,2,1",
    texts: Annotated[int, typer.Option(min=1, help="Number of texts, at most.")] = 100,
) -> None:
    """Print the accuracy of each run by rounds of evaluation."""
    columns = numbers(rounds, "--rounds")
    print(f"{'run':24}", *(f"{column:>6}" for column in (FULL, *columns)))
    for folder in runs:
        trained = load_model(folder)
        judged = held_out_texts(trained, texts)
        own = precision_of_evaluation(trained.recipe.train.precision, trained.device)
        precision = autocast(own, trained.device)
        with full_attention(trained.model):
            shares = [accuracy(trained.model, judged, precision)]
        for column in columns if trained.model.hash_layers else ():
            with rounds_of_hashing(trained.model, column):
                shares.append(accuracy(trained.model, judged, precision))
        print(f"{folder!s:24}", *(f"{share:>6.1%}" for share in shares), flush=True)


if __name__ == "__main__":
    run(main)
