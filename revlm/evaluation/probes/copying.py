"""The copy test: random tokens, the same tokens again, and the share of the second copy that a model predicts.

Only the first copy reveals the second, so a model that cannot attend that far back predicts by chance. The first token
of the second copy cannot be predicted and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from revlm.evaluation.probes.ablations import ROUNDS, own_rounds
from revlm.evaluation.probes.probe import Probe, ProbeInput
from revlm.evaluation.views import Chart, Line, Point, Table
from revlm.records import CopyAccuracy, Copying
from revlm.text import ABSENT, plural

if TYPE_CHECKING:
    from revlm.evaluation.scorer import Scorer, Tokens

COPY_LENGTHS = (128, 512, 2048, 8192)
# Tokens in the first copies of one length, which decide the number of sequences (at least one).
_TOKENS = 2048


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

    Lengths whose two copies have more than `longest` tokens are left out. If that leaves none, the length is half of
    `longest`, and at least 2, since a copy of one token has none that counts.
    """
    from revlm.evaluation.switches import rounds_of_hashing

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
            accuracies.append(CopyAccuracy(length=length, rounds=number, accuracy=accuracy))
    return Copying(chance=1 / len(vocabulary), own_rounds=model.recipe.n_rounds, accuracies=accuracies)


def _accuracy(scorer: Scorer, sequences: Tokens, begin_id: int) -> float:
    """The share of tokens predicted in the second halves of [sequences, tokens], without the first token of each."""
    n_sequences, tokens = sequences.shape
    begin = np.full((n_sequences, 1), begin_id, dtype=np.int32)
    inputs = np.concatenate([begin, sequences[:, :-1]], axis=1)
    document_ids = np.repeat(np.arange(n_sequences, dtype=np.int32), tokens)
    hidden = scorer.hidden(inputs.ravel(), document_ids).unflatten(0, (n_sequences, tokens))
    counted = slice(tokens // 2 + 1, None)
    ranks = scorer.ranks(hidden[:, counted].flatten(0, 1), sequences[:, counted].ravel())
    return float((ranks == 1).mean())


def _measure(given: ProbeInput) -> Copying:
    return measure_copying(
        given.scorer,
        given.vocabulary,
        begin_id=given.begin_id,
        longest=given.seq_len,
        seed=given.options.seed,
        progress=given.progress,
    )


def _tables(found: Copying) -> Sequence[Table]:
    lengths = sorted({each.length for each in found.accuracies})
    accuracy = {(each.rounds, each.length): f"{each.accuracy:.1%}" for each in found.accuracies}
    rows = [
        (
            "no hash layers" if rounds is None else f"{rounds}{own_rounds(rounds, found.own_rounds)}",
            *(accuracy.get((rounds, length), ABSENT) for length in lengths),
        )
        for rounds in dict.fromkeys(each.rounds for each in found.accuracies)
    ]
    return [
        Table(
            ("rounds of hashing", *(f"{length:,} tokens" for length in lengths)),
            [rows, [("chance", *(f"{found.chance:.2%}" for _ in lengths))]],
            "copy: the share of the second of two copies of random tokens that is predicted, by their length",
        )
    ]


def _panels(found: Copying) -> Sequence[Chart]:
    if not found.accuracies:
        return []
    lines = []
    for rounds in dict.fromkeys(each.rounds for each in found.accuracies):
        points = [Point(each.length, each.accuracy) for each in found.accuracies if each.rounds == rounds]
        name = "copied" if rounds is None else plural(rounds, "round")
        lines.append(Line(name, points, thin=rounds not in (None, found.own_rounds)))
    return [
        Chart(
            caption="tokens predicted",
            below="tokens copied",
            lines=lines,
            levels=[("chance", found.chance)],
            percent=True,
            ordered=True,
        )
    ]


COPYING = Probe(
    name="copying",
    option="--copy",
    help="Random tokens that come twice, by rounds of hashing.",
    title="Copies",
    measure=_measure,
    tables=_tables,
    panels=_panels,
    caption=lambda found: (
        "Random tokens that come twice: the share of the second copy that is predicted, by the length of a copy and "
        "the rounds of hashing. Only the first copy reveals the second. Dashed: chance."
    ),
)
