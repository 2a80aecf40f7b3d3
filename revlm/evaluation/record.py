"""An evaluation as plain data: what `revlm evaluate --json` prints, and what stays in the run folder."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from revlm.evaluation.held_out import Score
from revlm.evaluation.run import Evaluation


def evaluation_record(evaluation: Evaluation, step: int, earlier: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns an evaluation of the weights of a step, ready for JSON.

    Answers that an `earlier` record of the same weights and documents has, and this evaluation has not, are kept.
    """
    record: dict[str, Any] = {
        "step": step,
        "data": evaluation.data,
        "seq_len": evaluation.seq_len,
        "total": _score(evaluation.total),
        "documents": [{"title": title, **_score(score)} for title, score in evaluation.documents],
        "positions": [
            {"first": first, "last": last, "tokens": tokens, "loss": loss}
            for first, last, tokens, loss in evaluation.by_position.bins()
        ],
    }
    kept = earlier if earlier is not None and _are_of_the_same(earlier, record) else {}
    for question, given in asdict(evaluation.answers).items():
        if given is not None:
            record[question] = given
        elif question in kept:
            record[question] = kept[question]
    return record


def _are_of_the_same(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> bool:
    """Whether two records are of the same weights on the same documents; losses may differ by what rounding does."""
    if any(earlier.get(key) != later[key] for key in ("step", "data", "seq_len")):
        return False
    before, now = earlier.get("total"), later["total"]
    return (
        isinstance(before, dict)
        and isinstance(before.get("loss"), int | float)
        and all(before.get(key) == now[key] for key in ("tokens", "bytes"))
        and math.isclose(before["loss"], now["loss"], rel_tol=1e-3)
    )


def _score(score: Score) -> dict[str, Any]:
    return {"tokens": score.tokens, "bytes": score.bytes, "loss": score.loss, "bits_per_byte": score.bits_per_byte}
