from typing import Any

import pytest

from revlm.evaluation import Evaluation, PositionLosses, Score, evaluation_record

EVALUATION = Evaluation(
    "data/novels", 512, [("one", Score(nats=30.0, tokens=10, bytes=40, documents=1))], PositionLosses()
)


def kept(total: object) -> bool:
    """Whether an answer of an earlier record, with another total, stays."""
    earlier: dict[str, Any] = evaluation_record(EVALUATION, 3) | {"recall": {"queries": 1}}
    earlier["total"] = earlier["total"] | total if isinstance(total, dict) else total
    return "recall" in evaluation_record(EVALUATION, 3, earlier)


def test_answers_of_the_same_weights_and_documents_stay() -> None:
    assert kept({})
    assert kept({"loss": 3.001})
    assert not kept({"loss": 3.1})
    assert not kept({"tokens": 11})


@pytest.mark.parametrize("total", [{"loss": "x"}, {"loss": None}, {"tokens": None}, [], None])
def test_a_damaged_record_keeps_nothing(total: object) -> None:
    assert not kept(total)
