"""Small models whose layers matter, and scorers that are not models at all."""

from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from revlm.evaluation.scorer import Numbers, Scorer, Tokens
from revlm.evaluation.texts import Text
from revlm.model import RevLM
from revlm.recipe import Model

VOCABULARY = 64


def lively_scorer(*layers: str, n_layers: int = 2, window: int = 8, n_rounds: int = 2) -> Scorer:
    """A random model in float64 whose attention weighs as much as its embeddings, so that what it sees shows."""
    recipe = Model(
        d_model=16, n_layers=n_layers, n_heads=2, d_ff=32, layers=layers, window=window, n_rounds=n_rounds, n_buckets=4
    )
    model = RevLM(recipe, vocab_size=VOCABULARY, seed=0).double().eval()
    with torch.no_grad():
        for layer in range(n_layers):
            model.attention(layer).write.project.weight.mul_(100.0)
    return Scorer(model, nullcontext())


def random_text(tokens: int, seed: int = 0, title: str = "text") -> Text:
    """Random tokens as a document."""
    drawn = np.random.default_rng(seed).integers(1, VOCABULARY, tokens).astype(np.int32)
    return Text(title, 0, drawn)


class CountingScorer(Scorer):
    """Not a model: the loss of a target is the number of tokens before it that its pass shows.

    The tokens of its texts must count up from 1, after an input 0: then an input that is not the token before its
    target is found out.
    """

    def __init__(self) -> None:
        pass

    def hidden(self, inputs: Tokens, document: Tokens | None = None) -> Tensor:
        document = np.zeros_like(inputs) if document is None else document
        assert (np.diff(inputs)[np.diff(document) == 0] == 1).all()
        starts = np.flatnonzero(np.diff(document, prepend=-1))
        position = np.arange(len(inputs)) - starts[document]
        return torch.from_numpy(np.stack([inputs, position + 1], axis=1))

    def losses(self, hidden: Tensor, targets: Tokens) -> Numbers:
        previous, seen = hidden.double().numpy().T
        assert (previous + 1 == targets).all()
        return np.where(previous + 1 == seen, seen - 1, seen)  # the begin token of a whole text does not count


def counting_text(tokens: int, title: str = "text") -> Text:
    """A document for `CountingScorer`."""
    return Text(title, 0, np.arange(1, tokens + 1, dtype=np.int32))
