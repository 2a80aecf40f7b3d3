"""What the probes of `revlm evaluate` found, each under its own key of evaluation.json; losses are nats a token."""

from typing import Annotated

from pydantic import Field

from revlm.records.record import MOST_ENTRIES, MOST_LAYERS, Count, Layer, Many, Number, Positive, Record

_Layers = Annotated[list[Layer], Field(min_length=1, max_length=MOST_LAYERS)]


class ContextLoss(Record):
    """The loss with a context of so many tokens, or of all the text before (None): means over documents.

    `gain` is what the loss with the smallest context is above it, on the same targets of the same documents; `interval`
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

    lengths: list[ContextLoss] = Field(max_length=MOST_ENTRIES)
    too_short: Many[str]


class PooledLoss(Record):
    """The loss of all tokens of some documents; its 95% confidence interval over documents, None for one document."""

    documents: Count
    tokens: Count
    loss: Number
    interval: tuple[Number, Number] | None


class DistanceLoss(PooledLoss):
    """The loss of the tokens that last completed their contexts between two distances in tokens ago."""

    first: Positive
    last: Positive


class Repeats(Record):
    """Losses of tokens that complete a context of so many tokens as before, and of all tokens.

    Such a context came before, `most_earlier` times at most.
    """

    context: Positive
    most_earlier: Positive
    total: PooledLoss
    distances: list[DistanceLoss] = Field(max_length=MOST_ENTRIES)


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
    """Of the same texts each time: the whole model's loss, without each layer, without each kind, by rounds.

    `kinds` are those of several layers; `rounds` is empty where no layer hashes; `own_rounds` is the model's number,
    which is among them.
    """

    documents: Count
    tokens: Count
    loss: Number
    layers: list[Ablation] = Field(max_length=MOST_LAYERS)
    kinds: list[Ablation] = Field(max_length=MOST_ENTRIES)
    own_rounds: Positive
    rounds: list[RoundsLoss] = Field(max_length=MOST_ENTRIES)


class LayerRecall(Record):
    """Means over the sampled queries and heads of a layer: shares of attention weight, and the size of S(t)."""

    layer: Layer
    found: Number
    best: Number
    chance: Number
    keys: Number


class Recall(Record):
    """The recall of each hash layer, over `queries` queries of texts of `tokens` tokens."""

    queries: Count
    tokens: Count
    layers: list[LayerRecall] = Field(max_length=MOST_LAYERS)


class CopyAccuracy(Record):
    """The share of the second copies' tokens that were predicted, with so many rounds of hashing.

    `length` is that of one copy, so the distance over which each token is copied; `rounds` is None in a model without
    hash layers.
    """

    length: Positive
    rounds: Positive | None
    accuracy: Number


class Copying(Record):
    """Accuracies by length and rounds; `chance` is the accuracy of guessing among the tokens drawn from."""

    chance: Number
    own_rounds: Positive
    accuracies: list[CopyAccuracy] = Field(max_length=MOST_ENTRIES)


class Found(Record):
    """The share of targets predicted, their mean rank among all tokens (1: predicted) and their loss."""

    accuracy: Number
    rank: Number
    loss: Number


class NeedleDistance(Record):
    """The result at a distance in tokens, over `needles` needles, with and without the needles in the text."""

    distance: Positive
    needles: Count
    found: Found
    without: Found


class NeedleTest(Record):
    """Results by distance, the result of chance, and the titles of documents too short for any distance."""

    chance: Found
    distances: list[NeedleDistance] = Field(max_length=MOST_ENTRIES)
    too_short: Many[str]


class AnswerAccuracy(Record):
    """Answers to questions of one kind, about statements at most `distance` tokens away and farther than those before.

    `accuracy` is the share of answers that were predicted whole, `token_accuracy` that of their tokens.
    """

    kind: str = Field(max_length=100)
    distance: Positive
    answers: Positive
    accuracy: Number
    token_accuracy: Number
    loss: Number


class Answers(Record):
    """What was answered, by kind and distance, in so many documents that asked something."""

    documents: Count
    accuracies: list[AnswerAccuracy] = Field(max_length=MOST_ENTRIES)
