"""Answers to questions about facts stated in a document: accuracy by kind of question and distance of the statement.

`scripts/make_recall_corpus.py` makes such documents. An answer is right if the model predicts each of its tokens, given
the tokens before it; only the statement reveals them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from revlm.evaluation.probes.probe import Probe, ProbeInput
from revlm.evaluation.questions import KINDS, questions_of
from revlm.evaluation.views import Chart, Line, Point, Table
from revlm.records import AnswerAccuracy, Answers
from revlm.text import plural

if TYPE_CHECKING:
    from revlm.corpus import Tokenizer
    from revlm.evaluation.scorer import Scorer
    from revlm.evaluation.texts import Text

# The first bin of distances ends at 256 tokens, and each further one at four times as many.
_NEAREST, _FACTOR = 256, 4


class _Answer(NamedTuple):
    is_right: bool
    tokens_right: int
    tokens: int
    nats: float


def measure_answers(
    scorer: Scorer,
    texts: Sequence[Text],
    tokenizer: Tokenizer,
    *,
    progress: Callable[[str], object] = lambda message: None,
) -> Answers:
    """Returns the accuracy on the questions of texts, each text in one pass, whatever its length."""
    found: dict[tuple[str, int], list[_Answer]] = defaultdict(list)
    documents = 0
    for text in texts:
        asked = list(questions_of(tokenizer.decode_bytes(text.tokens)))
        if not asked:
            continue
        documents += 1
        progress(f"answers: {text.title}, {len(text):,} tokens, {plural(len(asked), 'question')}")
        ends = np.cumsum(tokenizer.byte_lengths[text.tokens])
        # A token belongs to an answer if it holds any byte of it.
        positions = [
            np.arange(np.searchsorted(ends, each.start, "right"), np.searchsorted(ends, each.stop, "left") + 1)
            for each in asked
        ]
        stated = np.searchsorted(ends, [each.stated for each in asked], "right")
        rows = np.concatenate(positions)
        states = scorer.hidden(text.inputs(len(text)))[rows]
        right = scorer.ranks(states, text.tokens[rows]) == 1
        losses = scorer.losses(states, text.tokens[rows])
        begin = 0
        for question, position, statement in zip(asked, positions, stated, strict=True):
            here = slice(begin, begin := begin + len(position))
            answer = _Answer(bool(right[here].all()), int(right[here].sum()), len(position), float(losses[here].sum()))
            found[question.kind, _bin(int(position[0] - statement))].append(answer)
    return Answers(
        documents=documents,
        accuracies=[_accuracy(kind, within, found[kind, within]) for kind, within in sorted(found, key=_order)],
    )


def _bin(distance: int) -> int:
    """The bin of a distance: its upper end."""
    within = _NEAREST
    while within < distance:
        within *= _FACTOR
    return within


def _order(cell: tuple[str, int]) -> tuple[int, int]:
    kind, within = cell
    return KINDS.index(kind), within


def _accuracy(kind: str, within: int, answers: Sequence[_Answer]) -> AnswerAccuracy:
    tokens = sum(answer.tokens for answer in answers)
    return AnswerAccuracy(
        kind=kind,
        distance=within,
        answers=len(answers),
        accuracy=sum(answer.is_right for answer in answers) / len(answers),
        token_accuracy=sum(answer.tokens_right for answer in answers) / tokens,
        loss=sum(answer.nats for answer in answers) / tokens,
    )


def _measure(given: ProbeInput) -> Answers:
    return measure_answers(given.scorer, given.texts, given.tokenizer, progress=given.progress)


def _tables(answers: Answers) -> Sequence[Table]:
    rows = {
        kind: [
            (
                kind,
                f"{each.distance:,}",
                f"{each.answers:,}",
                f"{each.accuracy:.1%}",
                f"{each.token_accuracy:.1%}",
                f"{each.loss:.2f}",
            )
            for each in answers.accuracies
            if each.kind == kind
        ]
        for kind in dict.fromkeys(each.kind for each in answers.accuracies)
    }
    return [
        Table(
            ("question", "up to tokens away", "answers", "right", "tokens right", "nats/token"),
            list(rows.values()),
            f"answers: facts stated in {plural(answers.documents, 'document')}, asked for at the end",
            "" if answers.documents else "no document asks a question: make some with scripts/make_recall_corpus.py",
        )
    ]


def _panels(answers: Answers) -> Sequence[Chart]:
    if not answers.accuracies:
        return []
    kinds = list(dict.fromkeys(each.kind for each in answers.accuracies))
    lines = [
        Line(
            kind,
            [Point(each.distance, each.accuracy) for each in answers.accuracies if each.kind == kind],
            color=KINDS.index(kind),
        )
        for kind in kinds
    ]
    return [Chart(caption="answers right", below="tokens away, up to", lines=lines, percent=True)]


ANSWERS = Probe(
    name="answers",
    option="--answers",
    help="Answers to questions about facts stated in a document.",
    title="Answers",
    measure=_measure,
    tables=_tables,
    panels=_panels,
    caption=lambda answers: (
        "Questions at the end of a document about facts it stated: the share of answers that are predicted whole, by "
        f"the distance of the statement, over {plural(sum(each.answers for each in answers.accuracies), 'question')}."
    ),
)
