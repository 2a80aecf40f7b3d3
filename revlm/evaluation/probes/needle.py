"""The needle test: random tokens hidden in a held-out text, and whether a model recalls them from their beginning.

A needle is 16 random tokens that replace tokens of the text. At the end of the text the needle is repeated: its first 8
tokens are the cue, and the other 8 are the targets. Only the needle reveals them, so a model that finds it predicts
them, and any other is at chance. Many needles share one text, which ends with slots of 64 tokens, each with the 16
tokens of one repetition and then the text's own tokens. The distance is the number of tokens between a needle and its
repetition. For comparison, the same text is scored without the needles, but with the repetitions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from revlm.evaluation.probes.probe import CONTEXT_LENGTHS, Probe, ProbeInput
from revlm.evaluation.views import Chart, Line, Point, Table, left_out
from revlm.records import NeedleDistance, NeedleScore, NeedleTest

if TYPE_CHECKING:
    from revlm.evaluation.scorer import Numbers, Scorer, Tokens
    from revlm.evaluation.texts import Text

_NEEDLE, _CUE, _SLOT = 16, 8, 64
NEEDLES = 8


class _Hidden(NamedTuple):
    """A text with needles, the same text without them, and the positions of the repetitions by distance."""

    tokens: Tokens
    without: Tokens
    places: dict[int, list[int]]


class _Scored(NamedTuple):
    ranks: NDArray[np.int64]
    losses: Numbers


def measure_needles(
    scorer: Scorer,
    texts: Sequence[Text],
    vocabulary: Tokens,
    *,
    distances: Sequence[int] = CONTEXT_LENGTHS,
    needles: int = NEEDLES,
    seed: int = 0,
    progress: Callable[[str], object] = lambda message: None,
) -> NeedleTest:
    """Returns the scores on the beginnings of texts, with `needles` needles for each distance in each text.

    A distance is rounded up to a multiple of 64 tokens, and left out for a text that is too short for it.
    """
    generator = np.random.default_rng(seed)
    slots = sorted({-(-distance // _SLOT) for distance in distances})
    scored: dict[tuple[int, bool], list[_Scored]] = defaultdict(list)
    too_short = []
    for text in texts:
        # A text must hold the farthest needle, and a slot for each repetition.
        usable = [slot for index, slot in enumerate(slots) if (1 + slot + needles * (index + 1)) * _SLOT <= len(text)]
        if not usable:
            too_short.append(text.title)
            continue
        progress(f"needle: {text.title}, up to {usable[-1] * _SLOT:,} tokens away")
        hidden = _hide(text, usable, needles, vocabulary, generator)
        for there, tokens in ((True, hidden.tokens), (False, hidden.without)):
            states = scorer.hidden(replace(text, tokens=tokens).inputs(len(tokens)))
            for distance, places in hidden.places.items():
                rows = (np.array(places)[:, None] + np.arange(_CUE, _NEEDLE)).ravel()
                ranks, losses = scorer.ranks(states[rows], tokens[rows]), scorer.losses(states[rows], tokens[rows])
                scored[distance, there].append(_Scored(ranks, losses))
    size, chances = scorer.model.vocab_size, len(vocabulary)
    return NeedleTest(
        chance=NeedleScore(accuracy=1 / chances, rank=(size + 1) / 2, loss=math.log(chances)),
        distances=[
            NeedleDistance(
                distance=distance,
                needles=sum(len(each.ranks) for each in scored[distance, True]) // (_NEEDLE - _CUE),
                found=_found(scored[distance, True]),
                without=_found(scored[distance, False]),
            )
            for distance in sorted({distance for distance, _ in scored})
        ],
        too_short=too_short,
    )


def _hide(
    text: Text, slots: Sequence[int], needles: int, vocabulary: Tokens, generator: np.random.Generator
) -> _Hidden:
    """Hides `needles` needles for each distance; the repetitions of the farthest needles come first.

    Later repetitions belong to smaller distances, so no two needles share a slot.
    """
    n_cues = needles * len(slots)
    before_the_end = slots[-1] + 1
    tokens = text.tokens[: (before_the_end + n_cues) * _SLOT].copy()
    without = tokens.copy()
    places: dict[int, list[int]] = {}
    for number, slot in enumerate(np.repeat(slots[::-1], needles).tolist()):
        needle = generator.choice(vocabulary, size=_NEEDLE)
        place = (before_the_end + number) * _SLOT
        tokens[place : place + _NEEDLE] = without[place : place + _NEEDLE] = needle
        hidden_at = place - slot * _SLOT - _NEEDLE  # in the last quarter of a slot, where no repetition is
        tokens[hidden_at : hidden_at + _NEEDLE] = needle
        places.setdefault(slot * _SLOT, []).append(place)
    return _Hidden(tokens, without, places)


def _found(scored: Sequence[_Scored]) -> NeedleScore:
    ranks, losses = (np.concatenate(parts) for parts in zip(*scored, strict=True))
    return NeedleScore(accuracy=float((ranks == 1).mean()), rank=float(ranks.mean()), loss=float(losses.mean()))


def _measure(given: ProbeInput) -> NeedleTest:
    return measure_needles(
        given.scorer,
        given.longest,
        given.vocabulary,
        distances=given.options.lengths,
        seed=given.options.seed,
        progress=given.progress,
    )


def _tables(test: NeedleTest) -> Sequence[Table]:
    rows = [
        (
            f"{each.distance:,}",
            f"{each.needles:,}",
            f"{each.found.accuracy:.1%} / {each.without.accuracy:.1%}",
            f"{each.found.rank:,.0f} / {each.without.rank:,.0f}",
            f"{each.found.loss:.2f} / {each.without.loss:.2f}",
        )
        for each in test.distances
    ]
    chance = test.chance
    return [
        Table(
            ("distance", "needles", "predicted", "mean rank", "nats/token"),
            [rows, [("chance", "", f"{chance.accuracy:.2%}", f"{chance.rank:,.0f}", f"{chance.loss:.2f}")]],
            "needle: random tokens hidden in a text, their second half when the first is repeated; / without them",
            left_out(test.too_short).removeprefix("; "),
        )
    ]


def _panels(test: NeedleTest) -> Sequence[Chart]:
    if not test.distances:
        return []
    return [
        Chart(
            caption="nats a token",
            below="tokens away",
            lines=[
                Line("needle", [Point(each.distance, each.found.loss) for each in test.distances]),
                Line("no needle", [Point(each.distance, each.without.loss) for each in test.distances], color=1),
            ],
            levels=[("chance", test.chance.loss)],
        )
    ]


NEEDLE = Probe(
    name="needle",
    option="--needle",
    help="Random tokens hidden in a text, by distance.",
    title="Needles",
    measure=_measure,
    tables=_tables,
    panels=_panels,
    caption=lambda test: (
        "Random tokens are hidden in a text and begin again at a distance: the loss of the rest of them, with the "
        "needle in the text and without it. Dashed: chance."
    ),
)
