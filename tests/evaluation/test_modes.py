"""A model is in training mode again however an evaluation of it ends."""

from contextlib import nullcontext

import numpy as np
import pytest

from revlm.corpus import Example
from revlm.evaluation import PositionLosses, score_document, score_example
from tests.evaluation.models import VOCABULARY, lively_scorer


@pytest.mark.parametrize("ids", [np.arange(20) % 9, np.arange(20) + VOCABULARY], ids=["well", "beyond the vocabulary"])
def test_the_mode_of_a_model_outlives_its_evaluation(ids: np.ndarray) -> None:
    scorer = lively_scorer("local")
    numbers = ids.astype(np.int32)
    example = Example(numbers, numbers, np.zeros_like(numbers), ("text",), 0, 20)
    evaluations = (
        lambda: score_example(scorer.model, example, nullcontext()),
        lambda: score_document(scorer.model, [(0, example)], nullcontext(), PositionLosses()),
        lambda: scorer.text_losses(numbers, numbers),
    )
    for evaluate in evaluations:
        scorer.model.train()
        try:
            evaluate()
        except IndexError:
            assert ids[-1] >= VOCABULARY
        assert scorer.model.training
