"""Small models whose layers matter, and scorers that are not models at all."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revlm.evaluation.scorer import Numbers, Scorer, Tokens
from revlm.evaluation.texts import Text
from revlm.model import RevLM
from revlm.recipe import Model

VOCABULARY = 64


def lively_scorer(
    *layers: str,
    n_layers: int = 2,
    window: int = 8,
    n_rounds: int = 2,
    n_buckets: int | tuple[int, ...] = 4,
    pair_rounds: int = 0,
) -> Scorer:
    """A random model in float64 whose attention weighs as much as its embeddings, so that what it sees shows."""
    recipe = Model(
        d_model=16,
        n_layers=n_layers,
        n_heads=2,
        d_ff=32,
        layers=layers,
        window=window,
        n_rounds=n_rounds,
        n_buckets=n_buckets,
        pair_rounds=pair_rounds,
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


class Searching(Scorer):
    """Not a model: it expects what followed the latest earlier place with the same tokens, within its reach.

    It compares `cue` tokens, and looks at nothing before the document.
    """

    model = SimpleNamespace(vocab_size=VOCABULARY, hash_layers=(), recipe=SimpleNamespace(n_rounds=1))

    def __init__(self, reach: int, cue: int = 4) -> None:
        self.__dict__.update(reach=reach, cue=cue)

    def hidden(self, inputs: Tokens, document: Tokens | None = None) -> Tensor:
        latest: dict[tuple[int, ...], int] = {}
        expected = np.full(len(inputs), -1)
        for place in range(self.cue - 1, len(inputs)):
            if document is not None and document[place] != document[place - 1]:
                latest.clear()
            cue = tuple(inputs[place + 1 - self.cue : place + 1].tolist())
            found = latest.get(cue)
            if found is not None and place - found <= self.reach:
                expected[place] = inputs[found + 1]
            latest[cue] = place
        return torch.from_numpy(expected)

    def ranks(self, hidden: Tensor, targets: Tokens) -> NDArray[np.int64]:
        return np.where(hidden.numpy() == targets, 1, VOCABULARY)

    def losses(self, hidden: Tensor, targets: Tokens) -> Numbers:
        return np.where(hidden.numpy() == targets, 0.0, 4.0)
