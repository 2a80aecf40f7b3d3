"""The copy test: random tokens, then the same again, and how many of the second ones a model predicts.

Nothing but the first copy tells what comes, so a model that cannot look that far back predicts by chance. The first
token of the second copy is not counted: nothing announces it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from revlm.evaluation.ablations import ROUNDS
from revlm.evaluation.scorer import Scorer, Tokens
from revlm.evaluation.switches import rounds_of_hashing

COPY_LENGTHS = (128, 512, 2048, 8192)
# Tokens of first copies of each length: so many sequences, one at least.
_TOKENS = 2048


@dataclass(frozen=True)
class CopyAccuracy:
    """The share of the second copies' tokens that were predicted, with so many rounds of hashing.

    `length` is that of one copy, so the distance over which each token is copied; `rounds` is None in a model without
    hash layers.
    """

    length: int
    rounds: int | None
    accuracy: float


@dataclass(frozen=True)
class Copying:
    """Accuracies by length and rounds; `chance` is that of guessing among the tokens that were drawn from."""

    chance: float
    own_rounds: int
    accuracies: tuple[CopyAccuracy, ...]


def measure_copying(
    scorer: Scorer,
    vocabulary: Tokens,
    *,
    begin_id: int,
    longest: int,
    lengths: Sequence[int] = COPY_LENGTHS,
    rounds: Sequence[int] = ROUNDS,
    seed: int = 0,
    progress: Callable[[str], object] = lambda message: None,
) -> Copying:
    """Returns the accuracies on copies of tokens drawn evenly from `vocabulary`, each sequence a document of its own.

    Lengths whose two copies are longer than `longest` tokens are left out; where all are, half of it is the
    length, and 2 at least: of a copy of one token none is counted.
    """
    model = scorer.model
    fitting = [length for length in lengths if 2 * length <= longest] or [max(2, longest // 2)]
    numbers: Sequence[int | None] = sorted({*rounds, model.recipe.n_rounds}) if model.hash_layers else (None,)
    accuracies = []
    for length in fitting:
        generator = np.random.default_rng([seed, length])
        drawn = generator.choice(vocabulary, size=(max(1, _TOKENS // length), length))
        sequences = np.concatenate([drawn, drawn], axis=1).astype(np.int32)
        for number in numbers:
            progress(f"copy: {length:,} tokens" + (f", rounds of hashing: {number}" if number else ""))
            if number is None:
                accuracy = _accuracy(scorer, sequences, begin_id)
            else:
                with rounds_of_hashing(model, number):
                    accuracy = _accuracy(scorer, sequences, begin_id)
            accuracies.append(CopyAccuracy(length, number, accuracy))
    return Copying(1 / len(vocabulary), model.recipe.n_rounds, tuple(accuracies))


def _accuracy(scorer: Scorer, sequences: Tokens, begin_id: int) -> float:
    """The share of predicted tokens in the second halves of [sequences, tokens], without the first of each."""
    n_sequences, tokens = sequences.shape
    begin = np.full((n_sequences, 1), begin_id, dtype=np.int32)
    inputs = np.concatenate([begin, sequences[:, :-1]], axis=1)
    document = np.repeat(np.arange(n_sequences, dtype=np.int32), tokens)
    hidden = scorer.hidden(inputs.ravel(), document).unflatten(0, (n_sequences, tokens))
    counted = slice(tokens // 2 + 1, None)
    ranks = scorer.ranks(hidden[:, counted].flatten(0, 1), sequences[:, counted].ravel())
    return float((ranks == 1).mean())
