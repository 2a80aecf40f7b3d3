"""What `revlm evaluate` found, as evaluation.json holds it; losses are nats a token."""

from pydantic import Field

from revlm.records.probes import Ablations, Answers, ContextGain, Copying, NeedleTest, Recall, Repeats
from revlm.records.record import Count, Many, Number, Positive, Record

_MAX_BINS = 64  # positions double from bin to bin


class Total(Record):
    """The score over all documents; only pictures have bits per dimension."""

    tokens: Count
    bytes: Count
    loss: Number
    bits_per_byte: Number
    bits_per_dimension: Number | None = None


class _Titled(Record):
    title: str


class DocumentScore(Total, _Titled):
    """The score of one document, or of its held-out part."""


class PositionLoss(Record):
    """The loss of the tokens between two positions of their documents, counted from 1."""

    first: Positive
    last: Positive
    tokens: Count
    loss: Number


class Evaluation(Record):
    """An evaluation of the weights of a step, and the results of the probes that were asked for.

    `data` is where the documents are; `seq_len` bounds the context of the scores: a longer document is scored in pieces
    of that many tokens. `rounds` are the rounds of hashing that the model used, and `buckets` those of the finest ones;
    `attention_scale` is the factor of the attention logits, where it is not 1.
    """

    step: Count
    data: str
    seq_len: Positive
    rounds: Positive | None = None
    buckets: Positive | None = None
    attention_scale: Number | None = None
    total: Total
    documents: Many[DocumentScore]
    positions: list[PositionLoss] = Field(max_length=_MAX_BINS)
    context: ContextGain | None = None
    repeats: Repeats | None = None
    ablations: Ablations | None = None
    recall: Recall | None = None
    copying: Copying | None = None
    needle: NeedleTest | None = None
    answers: Answers | None = None

    @property
    def in_pieces(self) -> bool:
        """Whether a document was scored in several pieces."""
        return any(document.tokens > self.seq_len for document in self.documents)

    @property
    def second_piece(self) -> int | None:
        """The position at which the second piece of a document begins; None if no document was scored in pieces.

        Also None if only the end of a document was held out: its pieces begin at any position.
        """
        at_own = self.in_pieces and bool(self.positions) and self.positions[0].first == 1
        return self.seq_len + 1 if at_own else None
