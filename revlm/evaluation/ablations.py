"""What each part gives: the loss with a layer's attention set to zero, and with fewer or more rounds of hashing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from revlm.evaluation.scorer import Numbers, Scorer
from revlm.evaluation.switches import attention_set_to_zero, rounds_of_hashing
from revlm.evaluation.texts import Text

ROUNDS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Ablation:
    """The loss in nats a token without the attention of some layers, all of one kind, and what it is above the whole
    model's.
    """

    kind: str
    layers: tuple[int, ...]
    loss: float
    increase: float


@dataclass(frozen=True)
class RoundsLoss:
    """The loss in nats a token with so many rounds of hashing, and what it is above that with the model's own."""

    rounds: int
    loss: float
    increase: float


@dataclass(frozen=True)
class Ablations:
    """Of the same texts each time: the whole model's loss, without each layer, without each kind, by rounds.

    `kinds` are those of several layers; `rounds` is empty where no layer hashes; `own_rounds` is the recipe's number,
    which is among them.
    """

    documents: int
    tokens: int
    loss: float
    layers: tuple[Ablation, ...]
    kinds: tuple[Ablation, ...]
    own_rounds: int
    rounds: tuple[RoundsLoss, ...]


def measure_ablations(
    scorer: Scorer,
    texts: Sequence[Text],
    *,
    rounds: Sequence[int] = ROUNDS,
    progress: Callable[[str], object] = lambda message: None,
) -> Ablations:
    """Returns the losses on texts, each in one pass, of a model that is changed for that pass alone."""
    model = scorer.model
    progress("ablations: the whole model")
    whole = _loss(scorer, texts)

    def without(kind: str, layers: Sequence[int]) -> Ablation:
        numbers = ", ".join(map(str, layers))
        progress(f"ablations: without the {kind} attention of layer{'s' * (len(layers) > 1)} {numbers}")
        with attention_set_to_zero(model, layers):
            loss = _loss(scorer, texts)
        return Ablation(kind, tuple(layers), loss, loss - whole)

    def with_rounds(number: int) -> RoundsLoss:
        progress(f"ablations: rounds of hashing: {number}")
        with rounds_of_hashing(model, number):
            loss = _loss(scorer, texts)
        return RoundsLoss(number, loss, loss - whole)

    of_kind = {
        kind: [layer for layer, its_kind in enumerate(model.kinds) if its_kind == kind]
        for kind in dict.fromkeys(model.kinds)
    }
    return Ablations(
        documents=len(texts),
        tokens=sum(map(len, texts)),
        loss=whole,
        layers=tuple(without(kind, [layer]) for layer, kind in enumerate(model.kinds)),
        kinds=tuple(without(kind, layers) for kind, layers in of_kind.items() if len(layers) > 1),
        own_rounds=model.recipe.n_rounds,
        rounds=tuple(map(with_rounds, sorted({*rounds, model.recipe.n_rounds}))) if model.hash_layers else (),
    )


def _loss(scorer: Scorer, texts: Sequence[Text]) -> float:
    losses: list[Numbers] = [scorer.text_losses(text.inputs(len(text)), text.tokens) for text in texts]
    return float(np.concatenate(losses).mean())
