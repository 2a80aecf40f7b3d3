"""The parts of a page that show what `revlm evaluate` found."""

from collections.abc import Iterator

from revlm.report.by_context import draw_by_context
from revlm.report.by_position import FEW_TOKENS, draw_by_position
from revlm.report.evaluated import Evaluated, Recall
from revlm.report.finding import draw_finding
from revlm.report.html import figure, section, table, text
from revlm.report.pictures import Picture
from revlm.report.units import plural
from revlm.report.without import draw_ablations

HEADINGS = {
    "positions": "Loss by position in the document",
    "context": "Gain of long context",
    "ablations": "Ablations",
    "finding": "Needles and copies",
}
"""The headings of the pictures of an evaluation, by the names of their files without `.png`."""


def evaluation_pictures(evaluated: Evaluated) -> dict[str, Picture]:
    """The pictures of what was asked, by the keys of `HEADINGS`."""
    pictures = {"positions": _by_position(evaluated)}
    context, ablations, copying = evaluated.context, evaluated.ablations, evaluated.copying
    if context is not None and context.lengths:
        words = f"Gain by context length, {context.lengths[-1].gain:+.3f} nats a token with all of the text before"
        pictures["context"] = Picture(lambda canvas: draw_by_context({"": context}, canvas), words)
    if ablations is not None:
        words = "Increase of the loss without the attention of each layer, and by rounds of hashing"
        pictures["ablations"] = Picture(lambda canvas: draw_ablations(ablations, canvas), words)
    needle = evaluated.needle if evaluated.needle is not None and evaluated.needle.distances else None
    if needle is not None or copying is not None:
        words = "Loss of hidden random tokens by distance, and share of copied ones that is predicted, beside chance"
        pictures["finding"] = Picture(lambda canvas: draw_finding(needle, copying, canvas), words)
    return pictures


def evaluation_sections(evaluated: Evaluated) -> Iterator[str]:
    """Yields a section for each answer."""
    pictures = evaluation_pictures(evaluated)
    captions = {
        "positions": f"Of the weights of step {evaluated.step:,} on {evaluated.data}: "
        f"{plural(evaluated.total.tokens, 'token')}, {evaluated.total.loss:.4f} nats a token, "
        f"{evaluated.total.bits_per_byte:.4f} bits per byte. Positions are in powers of two; hollow: fewer than "
        f"{FEW_TOKENS} tokens.{_pieces(evaluated)}",
        "context": _context_caption(evaluated),
        "ablations": _ablations_caption(evaluated),
        "finding": "Random tokens that only an earlier place foretells: hidden in a text and begun again at a "
        "distance, here the loss of the rest of them; and all of them twice, here the share that is predicted. Dashed: "
        "what guessing gives.",
    }
    for name, picture in pictures.items():
        yield section(HEADINGS[name], figure(picture, captions[name]))
    if evaluated.recall is not None and evaluated.recall.layers:
        yield section("What the buckets find", *_recall(evaluated.recall))


def _by_position(evaluated: Evaluated) -> Picture:
    words = f"Loss by position in the document, {evaluated.total.loss:.3f} nats a token in all"
    return Picture(lambda canvas: draw_by_position({"": evaluated}, canvas), words)


def _pieces(evaluated: Evaluated) -> str:
    if not evaluated.in_pieces:
        return ""
    dotted = "; dotted: where the second begins" if evaluated.second_piece is not None else ""
    return f" Documents are scored in pieces of {evaluated.seq_len:,} tokens{dotted}."


def _context_caption(evaluated: Evaluated) -> str:
    if evaluated.context is None or not evaluated.context.lengths:
        return ""
    last = evaluated.context.lengths[-1]
    interval = (
        "bars are 95% intervals of the mean over documents (Student's t)"
        if any(each.interval is not None for each in evaluated.context.lengths)
        else "of one document there is no interval"
    )
    return (
        "The same targets with the text before them cut: how much lower their loss is than with the smallest context; "
        f"{interval}. All: {last.seen:,.0f} tokens in the mean, over {plural(last.documents, 'document')}."
    )


def _ablations_caption(evaluated: Evaluated) -> str:
    if evaluated.ablations is None:
        return ""
    ablations = evaluated.ablations
    caption = (
        "How much the loss rises when a layer's attention adds nothing, and that of all layers of a kind, on "
        f"{plural(ablations.tokens, 'token')} of {plural(ablations.documents, 'document')} with "
        f"{ablations.loss:.4f} nats a token."
    )
    if ablations.rounds:
        caption += f" The filled point is the model's own number of rounds, {ablations.own_rounds}."
    return caption


def _recall(recall: Recall) -> list[str]:
    rows = [
        [
            f"layer {each.layer}",
            f"{each.found:.1%}",
            f"{each.best:.1%}",
            f"{each.chance:.2%}",
            f"{each.keys:.1f}",
        ]
        for each in recall.layers
    ]
    words = (
        "The share of exact attention's weight, over all earlier tokens of the document, on the keys that a query's "
        "buckets hold; on as many keys chosen best; and on as many drawn at random. Means over "
        f"{plural(recall.queries, 'query').replace('querys', 'queries')} and all heads."
    )
    return [f"<p>{text(words)}</p>", table(["", "found", "best", "chance", "keys"], rows, numbers=True)]
