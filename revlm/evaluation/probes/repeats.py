"""Loss by distance: tokens that repeat what followed a rare context, by the distance to its last occurrence.

The context of a token is the n tokens before it. A token is a repeat if its context occurred one to three times earlier
in the document, and the same token followed the last of these occurrences; the distance is that between the two tokens.
A model that remembers the earlier occurrence can predict the token. More frequent contexts are left out, since a model
knows them without the document. Each document is scored in one pass, whatever length the model was trained at, so
distances are as long as documents are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from revlm.evaluation.interval import pooled_interval
from revlm.evaluation.probes.probe import Probe, ProbeInput
from revlm.evaluation.views import Chart, Line, Point, Table
from revlm.records import DistanceLoss, PooledLoss, Repeats
from revlm.text import ABSENT, plural

if TYPE_CHECKING:
    from revlm.evaluation.scorer import Numbers, Scorer, Tokens
    from revlm.evaluation.texts import Text

MAX_EARLIER = 3
"""The most earlier occurrences in the document with which a context is rare."""
LONGEST = 2**20
"""The number of tokens of a document that are scored; the rest of a longer document is left out."""
# Bins of distances end before 256, 1,024, 4,096 and so on.
_FIRST_EDGE, _FACTOR = 256, 4
# Losses of fewer tokens say little: their points are hollow.
_FEW_TOKENS = 256


def measure_repeats(
    scorer: Scorer,
    texts: Sequence[Text],
    *,
    context: int = 3,
    progress: Callable[[str], object] = lambda message: None,
) -> Repeats:
    """Returns the losses by distance, with one pass over each text; all tokens have equal weight."""
    by_bin: dict[int, list[Numbers]] = defaultdict(list)
    whole: list[Numbers] = []
    for text in texts:
        tokens = text.tokens[:LONGEST]
        progress(f"repeats: {text.title}, {len(tokens):,} tokens in one pass")
        losses = scorer.text_losses(text.inputs(len(tokens)), tokens)
        whole.append(losses)
        distances = distances_of_repeats(tokens, context)
        repeats = np.flatnonzero(distances)
        bins = np.searchsorted(_edges(len(tokens)), distances[repeats], side="right")
        for number in np.unique(bins).tolist():
            by_bin[number].append(losses[repeats[bins == number]])
    return Repeats(
        context=context,
        most_earlier=MAX_EARLIER,
        total=_pooled(whole),
        distances=[_of_bin(number, by_bin[number]) for number in sorted(by_bin)],
    )


def distances_of_repeats(tokens: Tokens, context: int, most_earlier: int = MAX_EARLIER) -> NDArray[np.int64]:
    """Returns the distance of each token to its last occurrence after the same context, [tokens].

    It is 0 for a token that is no repeat: the `context` tokens before it never occurred earlier, or more than
    `most_earlier` times, or another token followed the last time. Contexts are numbered by sorting, so memory is linear
    in the number of tokens.
    """
    distances = np.zeros(len(tokens), dtype=np.int64)
    n_contexts = len(tokens) - context
    if n_contexts < 2:
        return distances
    unit = np.unique(tokens, return_inverse=True)[1]
    number = unit
    for length in range(1, context):
        # The number of an n-gram of `length` tokens and that of the token after it give the longer one's number.
        number = np.unique(number[:-1] * (int(unit.max()) + 1) + unit[length:], return_inverse=True)[1]
    place = np.argsort(number[:n_contexts], kind="stable")
    begins = np.flatnonzero(np.diff(number[place], prepend=-1))
    earlier = np.arange(n_contexts) - np.repeat(begins, np.diff(begins, append=n_contexts))
    rare = np.flatnonzero((earlier >= 1) & (earlier <= most_earlier))
    completed, before = place[rare] + context, place[rare - 1] + context
    alike = tokens[completed] == tokens[before]
    distances[completed[alike]] = (completed - before)[alike]
    return distances


def _edges(longest: int) -> NDArray[np.int64]:
    """The ends of the bins, up to the first one beyond `longest`."""
    edges = [_FIRST_EDGE]
    while edges[-1] <= longest:
        edges.append(edges[-1] * _FACTOR)
    return np.array(edges)


def _of_bin(number: int, losses: Sequence[Numbers]) -> DistanceLoss:
    first = _FIRST_EDGE * _FACTOR ** (number - 1) if number else 1
    last = _FIRST_EDGE * _FACTOR**number - 1
    return DistanceLoss(first=first, last=last, **_pooled(losses).model_dump())


def _pooled(losses: Sequence[Numbers]) -> PooledLoss:
    """The loss of all tokens of several documents; `losses` has an array for each document."""
    sums, tokens = np.array([each.sum() for each in losses]), np.array([len(each) for each in losses])
    return PooledLoss(
        documents=len(losses),
        tokens=int(tokens.sum()),
        loss=float(sums.sum() / max(1, tokens.sum())),
        interval=pooled_interval(sums, tokens),
    )


def _measure(given: ProbeInput) -> Repeats:
    return measure_repeats(given.scorer, given.texts, context=given.options.repeat_context, progress=given.progress)


def _tables(found: Repeats) -> Sequence[Table]:
    rows = [(f"{each.first:,}-{each.last:,}", *_cells(each)) for each in found.distances]
    return [
        Table(
            ("distance", "documents", "tokens", "nats/token", "95%"),
            [rows, [("all tokens", *_cells(found.total))]],
            f"repeats: tokens that repeat what followed a rare context ({plural(found.context, 'token')}), by distance",
            f"rare: at most {found.most_earlier} earlier occurrences in the document; distance: to the last of them, "
            "which the same token followed; each document was scored in one pass; Student's interval over documents of "
            "the loss of all tokens together",
        )
    ]


def _cells(loss: PooledLoss) -> tuple[str, ...]:
    interval = ABSENT if loss.interval is None else "{:.4f} to {:.4f}".format(*loss.interval)
    return f"{loss.documents:,}", f"{loss.tokens:,}", f"{loss.loss:.4f}", interval


def _panels(found: Repeats) -> Sequence[Chart]:
    if not found.distances:
        return []
    points = [Point(each.first, each.loss, each.interval, each.tokens < _FEW_TOKENS) for each in found.distances]
    every = Point(None, found.total.loss, found.total.interval)
    return [
        Chart(
            caption="nats a token",
            below="tokens since the last time, from",
            lines=[Line("", [*points, every])],
            along="even",
            heights_from="around",
        )
    ]


def _caption(found: Repeats) -> str:
    interval = (
        " Bars are 95% intervals over documents (Student's t)."
        if any(each.interval for each in (found.total, *found.distances))
        else ""
    )
    return (
        f"Tokens that follow the same {plural(found.context, 'token')} as before in the document, where these occurred "
        f"at most {found.most_earlier} times: their loss by the distance to the last time. All: the loss of "
        f"all {plural(found.total.tokens, 'token')} of {plural(found.total.documents, 'document')}, each scored in one "
        f"pass.{interval} Hollow: fewer than {_FEW_TOKENS} tokens."
    )


REPEATS = Probe(
    name="repeats",
    option="--repeats",
    help="Tokens that repeat what followed a rare context, by distance.",
    title="Repeats by distance",
    measure=_measure,
    tables=_tables,
    panels=_panels,
    caption=_caption,
    compared=True,
)
