"""A trained run scored on the documents that it held out, or on those of another token folder."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from revlm.corpus import Corpus, open_corpus
from revlm.errors import DataError, NonFiniteError
from revlm.evaluation.documents import PositionLosses, score_document
from revlm.evaluation.held_out import Score
from revlm.evaluation.questions import Answers, Questions, answer
from revlm.evaluation.scorer import Scorer
from revlm.evaluation.texts import TextSample
from revlm.generation import TrainedModel
from revlm.model.precision import autocast
from revlm.recipe import Data


@dataclass(frozen=True)
class Evaluation:
    """The score of each document by its title, in the corpus's order, losses by the position, and further answers.

    `data` is where the documents are; `seq_len` bounds the context of the scores: a longer document is scored in pieces
    of that many tokens.
    """

    data: str
    seq_len: int
    documents: list[tuple[str, Score]]
    by_position: PositionLosses
    answers: Answers = field(default_factory=Answers)

    @property
    def total(self) -> Score:
        """The score of all documents together."""
        scores = [score for _, score in self.documents]
        return Score(
            math.fsum(score.nats for score in scores),
            sum(score.tokens for score in scores),
            sum(score.bytes for score in scores),
            sum(score.documents for score in scores),
        )


def evaluate_run(
    trained: TrainedModel,
    data: str | PathLike[str] | None = None,
    progress: Callable[[str], object] = lambda message: None,
    questions: Questions | None = None,
) -> Evaluation:
    """Returns the evaluation of a run on the documents it held out, or on all documents of another token folder.

    `progress` is told of each pass over a text before it is made.

    Raises:
        DataError: nothing was held out; the run's tokens have changed or are damaged; or the folder has another
            tokenizer.
        NonFiniteError: the loss is not finite.
    """
    questions = questions or Questions()
    recipe = trained.recipe
    chosen = _data(trained, data)
    corpus = open_corpus(chosen, recipe.seed)
    if corpus.tokenizer.fingerprint != trained.tokenizer.fingerprint:
        raise DataError(
            f"{corpus.name} was made with another tokenizer than the run's: run `revlm tokenize` on its texts with "
            f"--tokenizer {trained.tokenizer_place}"
        )
    if data is None:
        _require_that_of_the_run(trained, corpus)
    precision = autocast(recipe.train.precision, trained.device)
    by_position = PositionLosses()
    scored = []
    sample = TextSample(questions.samples, questions.seed)
    for title, pieces in corpus.documents(held_out=data is None):
        progress(f"scoring {title}")
        watched = sample.watch(title, pieces)
        scored.append((title, score_document(trained.model, watched, precision, by_position)))
        if not math.isfinite(scored[-1][1].nats):
            raise NonFiniteError(
                f"the loss on {title!r} is not finite with the weights of step {trained.step:,}: look at them with "
                "`revlm checkpoint verify`, and train on from an earlier checkpoint"
            )
    if not scored:
        raise DataError(
            f"the run held nothing out (data.validation is {recipe.data.validation:g}): "
            "give --data DIR with other tokens"
        )
    answers = answer(
        questions,
        Scorer(trained.model, precision),
        sample.texts(),
        begin_id=trained.tokenizer.begin_id,
        seq_len=recipe.data.seq_len,
        progress=progress,
    )
    return Evaluation(corpus.name, recipe.data.seq_len, scored, by_position, answers)


def _data(trained: TrainedModel, data: str | PathLike[str] | None) -> Data:
    """Where to score: another token folder, or what the run was trained on, with the tokenizer that it keeps."""
    of_run = trained.recipe.data
    if data is not None:
        return of_run.model_copy(update={"path": Path(data), "stream": None, "tokenizer": None, "validation": 0.0})
    if of_run.stream is not None:
        return of_run.model_copy(update={"tokenizer": trained.tokenizer_place})
    return of_run


def _require_that_of_the_run(trained: TrainedModel, corpus: Corpus) -> None:
    if corpus.fingerprint != trained.corpus_fingerprint:
        raise DataError(
            f"{corpus.name} is not what the run was trained on, so what was held out is not known: "
            "put its tokens or texts back, or give --data DIR"
        )
