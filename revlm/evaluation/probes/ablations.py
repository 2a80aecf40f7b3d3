"""Ablations: the loss with a layer's attention set to zero, and with fewer or more rounds of hashing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from revlm.evaluation.probes.probe import Probe, ProbeInput
from revlm.evaluation.views import Bar, Bars, Chart, Line, Panel, Point, Table
from revlm.records import Ablation, Ablations, RoundsLoss
from revlm.text import plural

if TYPE_CHECKING:
    from revlm.evaluation.scorer import Numbers, Scorer
    from revlm.evaluation.texts import Text

ROUNDS = (1, 2, 4, 8, 16)
_COLORS = {"local": 0, "lsh": 1, "full": 2}


def measure_ablations(
    scorer: Scorer,
    texts: Sequence[Text],
    *,
    rounds: Sequence[int] = ROUNDS,
    progress: Callable[[str], object] = lambda message: None,
) -> Ablations:
    """Returns the losses on the texts, each scored in one pass, with each change to the model in turn."""
    from revlm.evaluation.switches import attention_set_to_zero, rounds_of_hashing

    model = scorer.model
    progress("ablations: the whole model")
    whole = _loss(scorer, texts)

    def without(kind: str, layers: Sequence[int]) -> Ablation:
        numbers = ", ".join(map(str, layers))
        progress(f"ablations: without the {kind} attention of layer{'s' * (len(layers) > 1)} {numbers}")
        with attention_set_to_zero(model, layers):
            loss = _loss(scorer, texts)
        return Ablation(kind=kind, layers=list(layers), loss=loss, increase=loss - whole)

    def with_rounds(number: int) -> RoundsLoss:
        progress(f"ablations: rounds of hashing: {number}")
        with rounds_of_hashing(model, number):
            loss = _loss(scorer, texts)
        return RoundsLoss(rounds=number, loss=loss, increase=loss - whole)

    of_kind = {
        kind: [layer for layer, its_kind in enumerate(model.kinds) if its_kind == kind]
        for kind in dict.fromkeys(model.kinds)
    }
    return Ablations(
        documents=len(texts),
        tokens=sum(map(len, texts)),
        loss=whole,
        layers=[without(kind, [layer]) for layer, kind in enumerate(model.kinds)],
        kinds=[without(kind, layers) for kind, layers in of_kind.items() if len(layers) > 1],
        own_rounds=model.recipe.n_rounds,
        rounds=list(map(with_rounds, sorted({*rounds, model.recipe.n_rounds}))) if model.hash_layers else [],
    )


def _loss(scorer: Scorer, texts: Sequence[Text]) -> float:
    losses: list[Numbers] = [scorer.text_losses(text.inputs(len(text)), text.tokens) for text in texts]
    return float(np.concatenate(losses).mean())


def _measure(given: ProbeInput) -> Ablations:
    return measure_ablations(given.scorer, given.beginnings, progress=given.progress)


def _tables(found: Ablations) -> Sequence[Table]:
    layers = [(f"layer {each.layers[0]} ({each.kind})", *_cells(each)) for each in found.layers]
    kinds = [(f"all {each.kind} layers", *_cells(each)) for each in found.kinds]
    parts = Table(
        ("without the attention of", "nats/token", "increase"),
        [[("nothing", f"{found.loss:.4f}", ""), *layers], kinds],
        f"ablations, on {found.tokens:,} tokens of {plural(found.documents, 'document')}",
    )
    if not found.rounds:
        return [parts]
    rows = [(f"{each.rounds}{own_rounds(each.rounds, found.own_rounds)}", *_cells(each)) for each in found.rounds]
    return [parts, Table(("rounds of hashing", "nats/token", "increase"), [rows])]


def _panels(found: Ablations) -> Sequence[Panel]:
    panels: list[Panel] = []
    if found.layers:
        panels.append(
            Bars(
                "increase without attention, nats a token",
                [_bar(f"layer {each.layers[0]}", each) for each in found.layers],
                [_bar(f"all {each.kind}", each) for each in found.kinds],
            )
        )
    if found.rounds:
        points = [Point(each.rounds, each.increase, hollow=each.rounds != found.own_rounds) for each in found.rounds]
        panels.append(
            Chart(
                caption="by rounds of hashing",
                below="rounds",
                lines=[Line("", points, color=_COLORS["lsh"])],
                levels=[("", 0.0)],
                tick_every=2,
                heights_from="around",
            )
        )
    return panels


def _caption(found: Ablations) -> str:
    caption = (
        "How much the loss rises without the attention of a layer, and without that of all layers of a kind, on "
        f"{plural(found.tokens, 'token')} of {plural(found.documents, 'document')} with {found.loss:.4f} nats a token."
    )
    return (
        f"{caption} The filled point is the model's own number of rounds, {found.own_rounds}."
        if found.rounds
        else caption
    )


def own_rounds(rounds: int, own: int) -> str:
    """Marks the model's own number of rounds."""
    return " (the model's)" if rounds == own else ""


def _cells(each: Ablation | RoundsLoss) -> tuple[str, str]:
    return f"{each.loss:.4f}", f"{each.increase:+.4f}"


def _bar(name: str, each: Ablation) -> Bar:
    return Bar(name, each.increase, each.kind, _COLORS.get(each.kind, len(_COLORS)))


ABLATIONS = Probe(
    name="ablations",
    option="--ablations",
    help="Without each layer's attention; by rounds of hashing.",
    title="Ablations",
    measure=_measure,
    tables=_tables,
    panels=_panels,
    caption=_caption,
)
