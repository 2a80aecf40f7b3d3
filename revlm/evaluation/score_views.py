"""Tables and chart of the scores: by document, and by position in the document."""

import math
from collections.abc import Sequence

from revlm.evaluation.views import Chart, Line, Point, Table
from revlm.records import Evaluation, Total
from revlm.text import plural

DOCUMENTS_SHOWN = 20
FEW_TOKENS = 256
"""Losses of fewer tokens say little: their points are hollow."""


def score_tables(evaluation: Evaluation) -> Sequence[Table]:
    """The scores of the first documents and of all, and the losses by position."""
    dimensions = () if evaluation.total.bits_per_dimension is None else ("bits/dimension",)
    shown = [(each.title, *_cells(each)) for each in evaluation.documents[:DOCUMENTS_SHOWN]]
    more = len(evaluation.documents) - DOCUMENTS_SHOWN
    documents = Table(
        ("document", "tokens", "bytes", "nats/token", "bits/byte", *dimensions),
        [shown, [("total", *_cells(evaluation.total))]],
        note=f"and {plural(more, 'document')} more, each in evaluation.json and with --json; the total is of all"
        if more > 0
        else "",
    )
    bins = [
        (f"{each.first:,}" if each.first == each.last else f"{each.first:,}-{each.last:,}", each.tokens, each.loss)
        for each in evaluation.positions
    ]
    positions = Table(
        ("position in document", "tokens", "nats/token"),
        [[(place, f"{tokens:,}", f"{loss:.4f}") for place, tokens, loss in bins]],
        note="every token was scored once, with the text before it in its document within data.seq_len = "
        f"{evaluation.seq_len:,} tokens",
    )
    return [documents, positions]


def position_chart(evaluation: Evaluation) -> Chart | None:
    """The loss over positions in powers of two; None where no token was scored."""
    if not evaluation.positions:
        return None
    # A bin's middle on an axis of powers; the last bin is drawn as if it were full.
    points = [
        Point(max(1, math.isqrt(each.first * each.last)), each.loss, hollow=each.tokens < FEW_TOKENS)
        for each in evaluation.positions
    ]
    second = evaluation.second_piece
    return Chart(
        caption="nats a token",
        below="position in the document, tokens",
        lines=[Line("", points)],
        marks=[] if second is None else [second],
        heights_from="around",
    )


def reading_text(evaluation: Evaluation) -> str:
    """The rounds of hashing, their buckets and the scale of attention, for a sentence about the weights."""
    parts = []
    if evaluation.rounds is not None:
        parts.append(f"{plural(evaluation.rounds, 'round')} of hashing")
    if evaluation.buckets is not None:
        parts.append(f"up to {plural(evaluation.buckets, 'bucket')}")
    if evaluation.attention_scale is not None:
        parts.append(f"attention logits times {evaluation.attention_scale:g}")
    return f" with {' and '.join(parts)}" if parts else ""


def position_caption(evaluation: Evaluation) -> str:
    """The caption of the chart of positions."""
    total = evaluation.total
    caption = (
        f"Of the weights of step {evaluation.step:,}{reading_text(evaluation)} on {evaluation.data}: "
        f"{plural(total.tokens, 'token')}, {total.loss:.4f} nats a token, {total.bits_per_byte:.4f} bits per byte"
        f"{_dimension_text(total)}. Positions are in powers of two; hollow: fewer than {FEW_TOKENS} tokens."
    )
    if not evaluation.in_pieces:
        return caption
    dotted = "; dotted: where the second begins" if evaluation.second_piece is not None else ""
    return f"{caption} Documents are scored in pieces of {evaluation.seq_len:,} tokens{dotted}."


def _cells(score: Total) -> tuple[str, ...]:
    of_all = f"{score.tokens:,}", f"{score.bytes:,}", f"{score.loss:.4f}", f"{score.bits_per_byte:.4f}"
    return of_all if score.bits_per_dimension is None else (*of_all, f"{score.bits_per_dimension:.4f}")


def _dimension_text(score: Total) -> str:
    return "" if score.bits_per_dimension is None else f", {score.bits_per_dimension:.4f} bits per dimension"
