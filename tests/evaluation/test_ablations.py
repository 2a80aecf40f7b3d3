import copy
from contextlib import nullcontext

import numpy as np
import torch

from revlm.evaluation.probes.ablations import measure_ablations
from revlm.evaluation.scorer import Scorer
from tests.evaluation.models import lively_scorer, random_text

TEXTS = [random_text(200, 1), random_text(150, 2)]


def test_each_part_is_missed_as_a_model_without_it_misses_it() -> None:
    scorer = lively_scorer("local", "lsh", n_layers=4)
    told: list[str] = []
    ablations = measure_ablations(scorer, TEXTS, rounds=(1, 2, 4), progress=told.append)
    assert (ablations.documents, ablations.tokens) == (2, 350)
    assert [(each.kind, each.layers) for each in ablations.layers] == [
        (kind, [layer]) for layer, kind in enumerate(("local", "lsh", "local", "lsh"))
    ]
    assert [(each.kind, each.layers) for each in ablations.kinds] == [("local", [0, 2]), ("lsh", [1, 3])]
    for each in (*ablations.layers, *ablations.kinds):
        without = copy.deepcopy(scorer.model)
        with torch.no_grad():
            for layer in each.layers:
                without.attention(layer).write.project.weight.zero_()
        losses = [Scorer(without, nullcontext()).text_losses(text.inputs(len(text)), text.tokens) for text in TEXTS]
        assert each.loss == np.concatenate(losses).mean()
        assert each.increase == each.loss - ablations.loss != 0
    assert len(told) == 1 + 4 + 2 + 3


def test_the_models_own_rounds_change_nothing() -> None:
    scorer = lively_scorer("local", "lsh", n_rounds=2)
    ablations = measure_ablations(scorer, TEXTS, rounds=(1, 2, 4))
    assert ablations.own_rounds == 2
    assert [each.increase == 0 for each in ablations.rounds] == [False, True, False]
    assert ablations.kinds == []  # one layer each: said already


def test_the_models_own_rounds_are_among_those_asked() -> None:
    ablations = measure_ablations(lively_scorer("lsh", n_rounds=3), TEXTS, rounds=(1, 4))
    assert [each.rounds for each in ablations.rounds] == [1, 3, 4]


def test_a_model_that_does_not_hash_has_no_rounds() -> None:
    assert measure_ablations(lively_scorer("local"), TEXTS).rounds == []
