"""The needle test: random tokens hidden in a held-out text, and whether their beginning brings back the rest.

A needle is 16 random tokens. It replaces tokens of the text at a distance before the end, where its first 8 are
repeated; the other 8 are the targets. Nothing else foretells them, so a model that finds the needle predicts them and
one that does not is at chance. Many needles share one text: the end is a row of slots of 64 tokens, each with one
needle's 16 tokens and the text's own after them. The distance is the number of tokens between a needle and its
repetition. The same text without the needles, the repetitions as they are, is the comparison.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from revlm.evaluation.context_gain import CONTEXT_LENGTHS
from revlm.evaluation.scorer import Numbers, Scorer, Tokens
from revlm.evaluation.texts import Text

_NEEDLE, _CUE, _SLOT = 16, 8, 64
NEEDLES = 8


@dataclass(frozen=True)
class Found:
    """The share of targets that were predicted, their mean rank among all tokens (1: predicted) and nats a token."""

    accuracy: float
    rank: float
    loss: float


@dataclass(frozen=True)
class NeedleDistance:
    """What was found over a distance in tokens, over so many needles, and what without the needles."""

    distance: int
    needles: int
    found: Found
    without: Found


@dataclass(frozen=True)
class NeedleTest:
    """Results by distance, what chance gives, and the titles of sampled documents too short for any distance."""

    chance: Found
    distances: tuple[NeedleDistance, ...]
    too_short: tuple[str, ...]


class _Hidden(NamedTuple):
    """A text with needles, the same without them, and by distance where the repetitions begin."""

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
    """Returns what is found in the beginnings of texts, with so many needles for each distance in each of them.

    A distance is rounded up to a multiple of 64 tokens, and left out for a text that is too short for it.
    """
    generator = np.random.default_rng(seed)
    slots = sorted({-(-distance // _SLOT) for distance in distances})
    scored: dict[tuple[int, bool], list[_Scored]] = defaultdict(list)
    too_short = []
    for text in texts:
        # The farthest needle, and a slot for each repetition.
        usable = [slot for place, slot in enumerate(slots) if (1 + slot + needles * (place + 1)) * _SLOT <= len(text)]
        if not usable:
            too_short.append(text.title)
            continue
        progress(f"needle: {text.title}, up to {usable[-1] * _SLOT:,} tokens away")
        hidden = _hide(text, usable, needles, vocabulary, generator)
        for there, tokens in ((True, hidden.tokens), (False, hidden.without)):
            states = scorer.hidden(Text(text.title, text.before, tokens).inputs(len(tokens)))
            for distance, places in hidden.places.items():
                rows = (np.array(places)[:, None] + np.arange(_CUE, _NEEDLE)).ravel()
                ranks, losses = scorer.ranks(states[rows], tokens[rows]), scorer.losses(states[rows], tokens[rows])
                scored[distance, there].append(_Scored(ranks, losses))
    size, chances = scorer.model.vocab_size, len(vocabulary)
    return NeedleTest(
        Found(1 / chances, (size + 1) / 2, math.log(chances)),
        tuple(
            NeedleDistance(
                distance,
                sum(len(each.ranks) for each in scored[distance, True]) // (_NEEDLE - _CUE),
                found=_found(scored[distance, True]),
                without=_found(scored[distance, False]),
            )
            for distance in sorted({distance for distance, _ in scored})
        ),
        tuple(too_short),
    )


def _hide(
    text: Text, slots: Sequence[int], needles: int, vocabulary: Tokens, generator: np.random.Generator
) -> _Hidden:
    """Hides `needles` needles for each distance, in slots; repetitions of the farthest come first.

    So no two needles fall on one slot: later slots at the end belong to smaller distances.
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
        hidden_at = place - slot * _SLOT - _NEEDLE  # in the last quarter of a slot: no repetition lies there
        tokens[hidden_at : hidden_at + _NEEDLE] = needle
        places.setdefault(slot * _SLOT, []).append(place)
    return _Hidden(tokens, without, places)


def _found(scored: Sequence[_Scored]) -> Found:
    ranks, losses = (np.concatenate(parts) for parts in zip(*scored, strict=True))
    return Found(float((ranks == 1).mean()), float(ranks.mean()), float(losses.mean()))
