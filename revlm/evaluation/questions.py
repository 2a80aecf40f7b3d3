"""What can be asked of a model beyond its score, and the answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from revlm.evaluation.ablations import Ablations, measure_ablations
from revlm.evaluation.context_gain import CONTEXT_LENGTHS, ContextGain, measure_context_gain
from revlm.evaluation.copying import Copying, measure_copying
from revlm.evaluation.needle import NeedleTest, measure_needles
from revlm.evaluation.recall import Recall, measure_recall
from revlm.evaluation.scorer import Scorer
from revlm.evaluation.texts import Text, beginnings, vocabulary_of

QUESTIONS = ("context", "ablations", "recall", "copy", "needle")


@dataclass(frozen=True)
class Questions:
    """Which of `QUESTIONS` are asked, and of how much.

    `samples` documents are drawn by `seed`, and as many runs of targets for the context; ablations and recall take
    `tokens` tokens from the beginnings of them, the needle a quarter of them, the longest. `lengths` are the contexts
    and the distances of needles.
    """

    asked: frozenset[str] = frozenset()
    lengths: tuple[int, ...] = CONTEXT_LENGTHS
    samples: int = 8
    tokens: int = 65536
    seed: int = 0


@dataclass(frozen=True)
class Answers:
    """The answers to what was asked; None for the rest."""

    context: ContextGain | None = None
    ablations: Ablations | None = None
    recall: Recall | None = None
    copying: Copying | None = None
    needle: NeedleTest | None = None


def answer(
    questions: Questions,
    scorer: Scorer,
    texts: Sequence[Text],
    *,
    begin_id: int,
    seq_len: int,
    progress: Callable[[str], object],
) -> Answers:
    """Returns the answers on a sample of held-out texts, of a model that was trained on `seq_len` tokens at a time."""
    asked, seed = questions.asked, questions.seed
    first = beginnings(texts, seq_len, questions.tokens)
    longest = sorted(texts, key=len, reverse=True)[: max(1, questions.samples // 4)]
    vocabulary = vocabulary_of(texts)
    return Answers(
        context=measure_context_gain(
            scorer, texts, lengths=questions.lengths, samples=questions.samples, seed=seed, progress=progress
        )
        if "context" in asked
        else None,
        ablations=measure_ablations(scorer, first, progress=progress) if "ablations" in asked else None,
        recall=measure_recall(scorer, first, seed=seed, progress=progress) if "recall" in asked else None,
        copying=measure_copying(scorer, vocabulary, begin_id=begin_id, longest=seq_len, seed=seed, progress=progress)
        if "copy" in asked
        else None,
        needle=measure_needles(scorer, longest, vocabulary, distances=questions.lengths, seed=seed, progress=progress)
        if "needle" in asked
        else None,
    )
