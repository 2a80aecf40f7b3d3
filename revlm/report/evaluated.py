"""What `revlm evaluate` left in a run folder, as typed values."""

from revlm.report.records import Record


class Total(Record):
    """The score of all documents; the loss is nats a token."""

    tokens: int
    bytes: int
    loss: float
    bits_per_byte: float


class Document(Record):
    """The score of one document, or of what was held out of one."""

    tokens: int


class Position(Record):
    """The loss of the tokens between two positions of their documents, counted from 1."""

    first: int
    last: int
    tokens: int
    loss: float


class ContextLength(Record):
    """The gain of a context (None: all) over the smallest, with its interval over documents where there are several."""

    context: int | None
    documents: int
    targets: int
    seen: float
    loss: float
    gain: float
    interval: list[float] | None


class Context(Record):
    """The gains by context length, the smallest first."""

    lengths: list[ContextLength]


class Ablation(Record):
    """The loss without the attention of layers of a kind, and how far it is above the whole model's."""

    kind: str
    layers: list[int]
    loss: float
    increase: float


class RoundsLoss(Record):
    """The loss with so many rounds of hashing."""

    rounds: int
    loss: float
    increase: float


class Ablations(Record):
    """The losses of a changed model on the same texts."""

    documents: int
    tokens: int
    loss: float
    layers: list[Ablation]
    kinds: list[Ablation]
    own_rounds: int
    rounds: list[RoundsLoss]


class LayerRecall(Record):
    """Shares of exact attention's weight: found by the buckets, on the best keys, on as many drawn at random."""

    layer: int
    found: float
    best: float
    chance: float
    keys: float


class Recall(Record):
    """The recall of each hash layer."""

    queries: int
    tokens: int
    layers: list[LayerRecall]


class CopyAccuracy(Record):
    """The share of a second copy that is predicted, by the length of a copy and the rounds of hashing."""

    length: int
    rounds: int | None
    accuracy: float


class Copying(Record):
    """The accuracies of the copy test."""

    chance: float
    own_rounds: int
    accuracies: list[CopyAccuracy]


class Found(Record):
    """The share of a needle's targets that is predicted, their mean rank and their loss."""

    accuracy: float
    rank: float
    loss: float


class NeedleDistance(Record):
    """What is found over a distance, and what without needles."""

    distance: int
    needles: int
    found: Found
    without: Found


class NeedleTest(Record):
    """The needle test by distance."""

    chance: Found
    distances: list[NeedleDistance]


class Evaluated(Record):
    """An evaluation of the weights of a step; what was not asked is None."""

    step: int
    data: str
    seq_len: int
    total: Total
    documents: list[Document]
    positions: list[Position]
    context: Context | None = None
    ablations: Ablations | None = None
    recall: Recall | None = None
    copying: Copying | None = None
    needle: NeedleTest | None = None

    @property
    def in_pieces(self) -> bool:
        """Whether a document was scored in several pieces."""
        return any(document.tokens > self.seq_len for document in self.documents)

    @property
    def second_piece(self) -> int | None:
        """The position in the document at which second pieces begin; None where none does, or no document at its own.

        What is held out of a single document is its end, whose pieces begin at any position.
        """
        return self.seq_len + 1 if self.in_pieces and self.positions[0].first == 1 else None
