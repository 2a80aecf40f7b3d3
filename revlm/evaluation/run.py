"""Evaluates a trained run on the documents that it held out, or on another token store."""

import math
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from revlm.corpus import Corpus, open_corpus
from revlm.errors import DataError, NonFiniteError
from revlm.evaluation.documents import PositionLosses, score_document
from revlm.evaluation.held_out import Score
from revlm.evaluation.probes import PROBES, ProbeInput, ProbeOptions
from revlm.evaluation.scorer import Scorer
from revlm.evaluation.texts import TextSample
from revlm.generation import TrainedModel
from revlm.model.precision import autocast, precision_of_evaluation
from revlm.model.shape import buckets_of_rounds
from revlm.pictures import HEADER_BYTES
from revlm.recipe import Data
from revlm.records import DocumentScore, Evaluation, PositionLoss, Total


def evaluate_run(
    trained: TrainedModel,
    data: str | PathLike[str] | None = None,
    progress: Callable[[str], object] = lambda message: None,
    options: ProbeOptions | None = None,
    earlier: Evaluation | None = None,
) -> Evaluation:
    """Returns the evaluation of a run on the documents it held out, or on all documents of another token store.

    `progress` is called before each pass over a text. Results of an `earlier` evaluation of the same weights and
    documents are kept for probes that do not run this time.

    Raises:
        DataError: nothing was held out; the run's tokens have changed or are damaged; or the folder was made with
            another tokenizer.
        NonFiniteError: the loss is not finite.
    """
    options = options or ProbeOptions()
    recipe = trained.recipe
    chosen = _data(trained, data)
    corpus = open_corpus(chosen, recipe.seed)
    if corpus.tokenizer.fingerprint != trained.tokenizer.fingerprint:
        raise DataError(
            f"{corpus.name} was made with another tokenizer than the run's: run `revlm tokenize` on its texts with "
            f"--tokenizer {trained.tokenizer_folder}"
        )
    if data is None:
        _require_corpus_of_run(trained, corpus)
    precision = autocast(precision_of_evaluation(recipe.train.precision, trained.device), trained.device)
    by_position = PositionLosses()
    is_of_pictures = trained.tokenizer.document_kind == "picture"
    header_bytes = HEADER_BYTES if is_of_pictures else 0
    scored: list[tuple[str, Score]] = []
    sample = TextSample(options.samples, options.seed)
    for title, pieces in corpus.documents(held_out=data is None):
        progress(f"scoring {title}")
        collected = sample.collect(title, pieces)
        scored.append((title, score_document(trained.model, collected, precision, by_position, header_bytes)))
        if not math.isfinite(scored[-1][1].nats):
            raise NonFiniteError(
                f"the loss on {title!r} is not finite with the weights of step {trained.step:,}: verify them with "
                "`revlm checkpoint verify`, and resume training from an earlier checkpoint"
            )
    if not scored:
        raise DataError(
            f"the run held out no documents (data.validation is {recipe.data.validation:g}): "
            "give --data DIR with other tokens"
        )
    given = ProbeInput(
        Scorer(trained.model, precision),
        sample.texts(),
        options,
        begin_id=trained.tokenizer.begin_id,
        tokenizer=trained.tokenizer,
        seq_len=recipe.data.seq_len,
        progress=progress,
    )
    evaluation = Evaluation(
        step=trained.step,
        data=corpus.name,
        seq_len=recipe.data.seq_len,
        rounds=trained.model.recipe.n_rounds if trained.model.hash_layers else None,
        buckets=max(buckets_of_rounds(trained.model.recipe)) if trained.model.hash_layers else None,
        attention_scale=None if trained.model.attention_scale == 1 else trained.model.attention_scale,
        total=Total(**_score(_total(scored), is_of_pictures)),
        documents=[DocumentScore(**_score(score, is_of_pictures), title=title) for title, score in scored],
        positions=[
            PositionLoss(first=first, last=last, tokens=tokens, loss=loss)
            for first, last, tokens, loss in by_position.bins()
        ],
    )
    found = {name: probe.measure(given) for name, probe in PROBES.items() if name in options.asked}
    kept = _kept(earlier, evaluation)
    results = {name: found.get(name, kept.get(name)) for name in PROBES}
    return evaluation.model_copy(update={name: result for name, result in results.items() if result is not None})


def _total(scored: Sequence[tuple[str, Score]]) -> Score:
    """The score over all documents."""
    scores = [score for _, score in scored]
    return Score(
        math.fsum(score.nats for score in scores),
        sum(score.tokens for score in scores),
        sum(score.bytes for score in scores),
        sum(score.documents for score in scores),
        sum(score.header_bytes for score in scores),
    )


def _score(score: Score, is_of_pictures: bool) -> dict[str, Any]:
    values = {"tokens": score.tokens, "bytes": score.bytes, "loss": score.loss, "bits_per_byte": score.bits_per_byte}
    return values | {"bits_per_dimension": score.bits_per_dimension} if is_of_pictures else values


def _kept(earlier: Evaluation | None, later: Evaluation) -> dict[str, Any]:
    """The results of probes in an earlier evaluation, if it is of the same weights and documents.

    The total losses may differ by rounding.
    """
    if (
        earlier is None
        or _what(earlier) != _what(later)
        or (earlier.total.tokens, earlier.total.bytes) != (later.total.tokens, later.total.bytes)
        or not math.isclose(earlier.total.loss, later.total.loss, rel_tol=1e-3)
    ):
        return {}
    return {name: getattr(earlier, name) for name in PROBES}


def _what(evaluation: Evaluation) -> tuple[object, ...]:
    """What an evaluation is of."""
    read_with = evaluation.rounds, evaluation.buckets, evaluation.attention_scale
    return evaluation.step, evaluation.data, evaluation.seq_len, *read_with


def _data(trained: TrainedModel, data: str | PathLike[str] | None) -> Data:
    """The data to score: another token store, or the run's own, with the run's tokenizer."""
    of_run = trained.recipe.data
    if data is not None:
        return of_run.model_copy(update={"path": Path(data), "stream": None, "tokenizer": None, "validation": 0.0})
    if of_run.stream is not None:
        return of_run.model_copy(update={"tokenizer": trained.tokenizer_folder})
    return of_run


def _require_corpus_of_run(trained: TrainedModel, corpus: Corpus) -> None:
    if corpus.fingerprint != trained.corpus_fingerprint:
        raise DataError(
            f"{corpus.name} has changed since the run was trained, so its held-out documents are not known: "
            "restore its tokens or texts, or give --data DIR"
        )
