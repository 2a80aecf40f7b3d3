"""The results of the probes of `revlm evaluate`, each under its own key of evaluation.json; losses are nats a token."""

from typing import Annotated

from pydantic import Field

from revlm.records.record import MAX_ENTRIES, MAX_LAYERS, Count, Layer, Many, Number, Positive, Record

_Layers = Annotated[list[Layer], Field(min_length=1, max_length=MAX_LAYERS)]


class ContextLoss(Record):
    """The loss with a context of `context` tokens, or with all the text before (None), as a mean over documents.

    `gain` is the loss with the smallest context minus this loss, on the same targets of the same documents; `interval`
    is its 95% confidence interval over documents, None for one document. `seen` is the mean number of tokens before a
    target.
    """

    context: Positive | None
    documents: Count
    targets: Count
    seen: Number
    loss: Number
    gain: Number
    interval: tuple[Number, Number] | None


class ContextGain(Record):
    """The gain of each context over the smallest; `too_short` are the titles of documents too short for any context."""

    lengths: list[ContextLoss] = Field(max_length=MAX_ENTRIES)
    too_short: Many[str]


class PooledLoss(Record):
    """The loss of all tokens of some documents, and its 95% confidence interval over documents; None for one."""

    documents: Count
    tokens: Count
    loss: Number
    interval: tuple[Number, Number] | None


class DistanceLoss(PooledLoss):
    """The loss of repeated tokens whose last occurrence is `first` to `last` tokens back."""

    first: Positive
    last: Positive


class Repeats(Record):
    """The losses of repeated tokens by distance, and the loss of all tokens.

    A token is repeated if the `context` tokens before it occurred earlier, at most `most_earlier` times, and the same
    token followed the last time.
    """

    context: Positive
    most_earlier: Positive
    total: PooledLoss
    distances: list[DistanceLoss] = Field(max_length=MAX_ENTRIES)


class Ablation(Record):
    """The loss with the attention of some layers removed, all of one kind, and its increase over the whole model's."""

    kind: str = Field(max_length=100)
    layers: _Layers
    loss: Number
    increase: Number


class RoundsLoss(Record):
    """The loss with another number of hashing rounds, and its increase over the model's own number."""

    rounds: Positive
    loss: Number
    increase: Number


class Ablations(Record):
    """Losses on the same texts: of the whole model, without each layer, without each kind of layer, and by rounds.

    `kinds` lists kinds of several layers only; `rounds` is empty if no layer hashes, and includes `own_rounds`, the
    model's number of rounds.
    """

    documents: Count
    tokens: Count
    loss: Number
    layers: list[Ablation] = Field(max_length=MAX_LAYERS)
    kinds: list[Ablation] = Field(max_length=MAX_ENTRIES)
    own_rounds: Positive
    rounds: list[RoundsLoss] = Field(max_length=MAX_ENTRIES)


class LayerRecall(Record):
    """Means over the sampled queries and heads of a layer: shares of attention weight, and the number of keys."""

    layer: Layer
    found: Number
    best: Number
    chance: Number
    keys: Number


class Recall(Record):
    """The recall of each hash layer, over `queries` queries in texts of `tokens` tokens in total."""

    queries: Count
    tokens: Count
    layers: list[LayerRecall] = Field(max_length=MAX_LAYERS)


class CopyAccuracy(Record):
    """The share of tokens of the second copy that were predicted, with `rounds` rounds of hashing.

    `length` is the length of a copy, and so the distance over which each token is copied; `rounds` is None in a model
    without hash layers.
    """

    length: Positive
    rounds: Positive | None
    accuracy: Number


class Copying(Record):
    """Accuracies by length and rounds; `chance` is the accuracy of guessing among the tokens drawn from."""

    chance: Number
    own_rounds: Positive
    accuracies: list[CopyAccuracy] = Field(max_length=MAX_ENTRIES)


class NeedleScore(Record):
    """The share of targets predicted, their mean rank among all tokens (1: predicted) and their loss."""

    accuracy: Number
    rank: Number
    loss: Number


class NeedleDistance(Record):
    """The result at a distance in tokens, over `needles` needles, with and without the needles in the text."""

    distance: Positive
    needles: Count
    found: NeedleScore
    without: NeedleScore


class NeedleTest(Record):
    """Results by distance, the result of chance, and the titles of documents too short for any distance."""

    chance: NeedleScore
    distances: list[NeedleDistance] = Field(max_length=MAX_ENTRIES)
    too_short: Many[str]


class AnswerAccuracy(Record):
    """Answers to questions of one kind, about statements at most `distance` tokens away, the upper end of a bin.

    `accuracy` is the share of answers that were predicted completely, `token_accuracy` the share of their tokens.
    """

    kind: str = Field(max_length=100)
    distance: Positive
    answers: Positive
    accuracy: Number
    token_accuracy: Number
    loss: Number


class Answers(Record):
    """The accuracies by kind of question and distance, over `documents` documents with questions."""

    documents: Count
    accuracies: list[AnswerAccuracy] = Field(max_length=MAX_ENTRIES)
