"""The gain of long context: the same targets scored with the context cut to several lengths.

A sample is a series of consecutive targets in a document, 2,048 of them but at most a quarter of the document, which
begins at least the largest context into it. For a context of C tokens the series is scored in spans of C / 4 targets,
each given exactly the C tokens before its first target, so that a target sees between C and 5 C / 4 tokens and nothing
else. The cuts of several spans share an example as separate documents. The context `all` is the document from its
beginning. A cut begins like a document that continues from an earlier example: with the token before it, and without a
begin token.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from revlm.evaluation.interval import mean_interval
from revlm.evaluation.probes.probe import CONTEXT_LENGTHS, Probe, ProbeInput
from revlm.evaluation.views import Chart, Line, Point, Table, left_out
from revlm.records import ContextGain, ContextLoss
from revlm.text import ABSENT, plural

if TYPE_CHECKING:
    from revlm.evaluation.scorer import Numbers, Scorer, Tokens
    from revlm.evaluation.texts import Text

TARGETS = 2048
# Cuts share an example of at most this many tokens; a longer cut has its own example.
_BATCH = 65536
# The smallest end of the chart in nats a token, so that rounding does not look like a gain.
_LEAST = 0.01


class _Cut(NamedTuple):
    inputs: Tokens
    targets: Tokens


class _Losses(NamedTuple):
    losses: Numbers
    seen: float


def measure_context_gain(
    scorer: Scorer,
    texts: Sequence[Text],
    *,
    lengths: Sequence[int] = CONTEXT_LENGTHS,
    samples: int = 8,
    targets: int = TARGETS,
    seed: int = 0,
    progress: Callable[[str], object] = lambda message: None,
) -> ContextGain:
    """Returns the gain of each context length for which some document is long enough, and of the whole text before.

    `samples` series of at most `targets` targets are spread evenly over the documents. For each document, contexts that
    it is too short for are left out. Documents have equal weight. The cost of a context is a pass over about five times
    the targets, or over the context if that is longer; the cost of `all` is a pass over the document.
    """
    generator = np.random.default_rng(seed)
    lengths = sorted(set(lengths))
    long_enough = [text for text in texts if lengths[0] + _targets(text, targets) <= len(text)][:samples]
    by_context: dict[int | None, list[tuple[_Losses, Numbers]]] = defaultdict(list)
    for number, text in enumerate(long_enough):
        n_targets = _targets(text, targets)
        usable = [length for length in lengths if length + n_targets <= len(text)]
        wanted = samples // len(long_enough) + (number < samples % len(long_enough))
        starts = _starts(text, usable[-1], n_targets, wanted, generator)
        progress(f"context: {text.title}, up to {usable[-1]:,} tokens and all")
        smallest = _with_context(scorer, text, starts, n_targets, usable[0])
        by_context[usable[0]].append((smallest, smallest.losses))
        for length in usable[1:]:
            by_context[length].append((_with_context(scorer, text, starts, n_targets, length), smallest.losses))
        by_context[None].append((_with_all(scorer, text, starts, n_targets), smallest.losses))
    too_short = [text.title for text in texts if lengths[0] + _targets(text, targets) > len(text)]
    contexts = [*lengths, None]
    return ContextGain(
        lengths=[_summarised(context, by_context[context]) for context in contexts if context in by_context],
        too_short=too_short,
    )


def _targets(text: Text, at_most: int) -> int:
    return max(1, min(at_most, len(text) // 4))


def _starts(text: Text, context: int, targets: int, samples: int, generator: np.random.Generator) -> list[int]:
    """The starts of the series of targets, which do not overlap: one at random in each of several equal parts."""
    room = len(text) - context
    parts = max(1, min(samples, room // targets))
    edges = [context + room * part // parts for part in range(parts + 1)]
    return [int(generator.integers(low, high - targets + 1)) for low, high in pairwise(edges)]


def _with_context(scorer: Scorer, text: Text, starts: Sequence[int], targets: int, context: int) -> _Losses:
    cuts: list[_Cut] = []
    for start in starts:
        span = max(1, context // 4)
        for first in range(start, start + targets, span):
            last = min(first + span, start + targets)
            cuts.append(_Cut(text.tokens[first - context : last - 1], text.tokens[first:last]))
    losses = [_losses_of(scorer, batch, context) for batch in _batches(cuts)]
    seen = np.concatenate([context + np.arange(len(cut.targets)) for cut in cuts])
    return _Losses(np.concatenate(losses), float(seen.mean()))


def _batches(cuts: Sequence[_Cut]) -> Iterator[list[_Cut]]:
    batch: list[_Cut] = []
    tokens = 0
    for cut in cuts:
        if batch and tokens + len(cut.inputs) > _BATCH:
            yield batch
            batch, tokens = [], 0
        batch.append(cut)
        tokens += len(cut.inputs)
    yield batch


def _losses_of(scorer: Scorer, cuts: Sequence[_Cut], context: int) -> Numbers:
    """The losses of the cuts' targets; the first target of a cut follows its first `context` inputs."""
    lengths = [len(cut.inputs) for cut in cuts]
    document_ids = np.repeat(np.arange(len(cuts), dtype=np.int32), lengths)
    hidden = scorer.hidden(np.concatenate([cut.inputs for cut in cuts]), document_ids)
    ends = np.cumsum(lengths)
    rows = np.concatenate(
        [np.arange(end - length + context - 1, end) for end, length in zip(ends, lengths, strict=True)]
    )
    return scorer.losses(hidden[rows], np.concatenate([cut.targets for cut in cuts]))


def _with_all(scorer: Scorer, text: Text, starts: Sequence[int], targets: int) -> _Losses:
    rows = np.concatenate([np.arange(start, start + targets) for start in starts])
    hidden = scorer.hidden(text.inputs(int(rows[-1]) + 1))
    return _Losses(scorer.losses(hidden[rows], text.tokens[rows]), float(rows.mean()))


def _summarised(context: int | None, documents: Sequence[tuple[_Losses, Numbers]]) -> ContextLoss:
    gains = np.array([smallest.mean() - scored.losses.mean() for scored, smallest in documents])
    return ContextLoss(
        context=context,
        documents=len(documents),
        targets=sum(len(scored.losses) for scored, _ in documents),
        seen=float(np.mean([scored.seen for scored, _ in documents])),
        loss=float(np.mean([scored.losses.mean() for scored, _ in documents])),
        gain=float(gains.mean()),
        interval=mean_interval(gains),
    )


def _measure(given: ProbeInput) -> ContextGain:
    options = given.options
    return measure_context_gain(
        given.scorer,
        given.texts,
        lengths=options.lengths,
        samples=options.samples,
        seed=options.seed,
        progress=given.progress,
    )


def _tables(found: ContextGain) -> Sequence[Table]:
    rows = [
        (
            "all" if each.context is None else f"{each.context:,}",
            f"{each.documents:,}",
            f"{each.targets:,}",
            f"{each.seen:,.0f}",
            f"{each.loss:.4f}",
            f"{each.gain:+.4f}" if index else "",
            ABSENT if each.interval is None else f"± {each.interval[1] - each.gain:.4f}" if index else "",
        )
        for index, each in enumerate(found.lengths)
    ]
    return [
        Table(
            ("context", "documents", "targets", "seen", "nats/token", "gain", "95%"),
            [rows],
            "the same targets with the context cut",
            "a target sees between 1 and 5/4 times the context; the gain is the loss of the smallest context minus "
            "this loss, a mean over documents with Student's interval" + left_out(found.too_short),
        )
    ]


def _panels(found: ContextGain) -> Sequence[Chart]:
    if not found.lengths:
        return []
    points = [
        Point(each.context, each.gain, each.interval if index else None) for index, each in enumerate(found.lengths)
    ]
    return [
        Chart(
            caption="gain over the smallest context, nats a token",
            below="tokens of context",
            lines=[Line("", points)],
            along="even",
            least=_LEAST,
        )
    ]


def _caption(found: ContextGain) -> str:
    last = found.lengths[-1]
    interval = (
        "bars are 95% intervals of the mean over documents (Student's t)"
        if any(each.interval is not None for each in found.lengths)
        else "one document has no interval"
    )
    return (
        "The same targets with the text before them cut: how much lower their loss is than with the smallest context, "
        f"{last.gain:+.3f} nats a token with all of the text; {interval}. All: {last.seen:,.0f} tokens on average, "
        f"over {plural(last.documents, 'document')}."
    )


CONTEXT = Probe(
    name="context",
    option="--context",
    help="The same targets with the context cut.",
    title="Gain of long context",
    measure=_measure,
    tables=_tables,
    panels=_panels,
    caption=_caption,
    compared=True,
)
