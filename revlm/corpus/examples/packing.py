"""Decides which tokens of which documents form an example, from the documents' lengths alone.

An epoch is every training document once, in a seeded order. Documents are cut into pieces, and pieces are packed into
examples of at most `seq_len` targets (and as many inputs: a piece's first input is a begin token, or the token before
the piece). Every target is in exactly one piece, so for each packing and any epoch, counted from 1: tokens stored =
targets of the epoch's examples + carried to the next epoch's first example + held out.

Where `seq_len` changes, the tokens that no example has had yet are packed again. Which they are follows from the counts
of the earlier examples (`Cut`), so a position in an epoch stays a few numbers.
"""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from typing import NamedTuple


@dataclass(frozen=True)
class Span:
    """The targets `start` to `stop` (exclusive) of a document, named by its number in the store."""

    document: int
    start: int
    stop: int

    @property
    def tokens(self) -> int:
        return self.stop - self.start

    def split(self, tokens: int) -> "tuple[Span, Span | None]":
        """Returns the first `tokens` of the span (or all of it), and the rest, None where nothing is left."""
        middle = self.start + tokens
        if middle >= self.stop:
            return self, None
        return Span(self.document, self.start, middle), Span(self.document, middle, self.stop)


EpochExamples = list[tuple[Span, ...]]
EpochSpans = Callable[[int], Sequence[Span]]  # epoch, from 1 -> the spans of its documents, in order


class Cut(NamedTuple):
    """So many examples of an earlier length."""

    seq_len: int
    examples: int


class EpochPosition(NamedTuple):
    """A position in a stream of examples: the next is the one numbered `next_example` of those that begin in `epoch`.

    `earlier` are the examples of other lengths before: those since the first epoch with `fixed` packing, else
    those of the epoch. Examples are numbered from 0 again after them.
    """

    epoch: int
    next_example: int
    earlier: tuple[Cut, ...] = ()


@dataclass(frozen=True)
class Packing:
    """One way to pack.

    Attributes:
        plan: the examples that begin in an epoch, given its number and the earlier examples of other lengths.
        next_epoch: the position at the beginning of the next epoch.
        recut: the same position, in examples of another length than `seq_len`; `epoch_tokens` are those of an epoch.
        carried_tokens: the tokens carried over at the end of an epoch, where the length never changed.
        longest_example: the tokens of the longest example.
    """

    plan: Callable[[EpochSpans, int, int, Sequence[Cut]], EpochExamples]
    next_epoch: Callable[[EpochPosition], EpochPosition]
    recut: Callable[[EpochPosition, int, int], EpochPosition]
    carried_tokens: Callable[[int, int, int], int]
    longest_example: Callable[[int, int], int]


def plan_whole(spans_of: EpochSpans, seq_len: int, epoch: int, earlier: Sequence[Cut] = ()) -> EpochExamples:
    """Returns the examples of an epoch, or of what `earlier` ones left of it; none continues into the next.

    A long document is cut into pieces of `seq_len`, each an example of its own. Shorter documents and last pieces
    share examples by best fit: each, in order, joins the example with the least room that still holds it, or begins
    one. Examples are ordered by their last piece, so the pieces of a document stay in order, too.
    """
    return _after_earlier(_pack_whole, spans_of, seq_len, epoch, earlier)


def plan_interleaved(spans_of: EpochSpans, seq_len: int, epoch: int, earlier: Sequence[Cut] = ()) -> EpochExamples:
    """Returns the examples of `plan_whole` in another order: documents take turns.

    The pieces of each document, still in order, are spread evenly over the examples, those of different documents at
    different distances from the beginning. An example that several documents share has the latest of their positions.
    """
    return _after_earlier(_pack_interleaved, spans_of, seq_len, epoch, earlier)


def _after_earlier(
    pack: Callable[[Sequence[Span], int], EpochExamples],
    spans_of: EpochSpans,
    seq_len: int,
    epoch: int,
    earlier: Sequence[Cut],
) -> EpochExamples:
    """Packs the documents of an epoch, or what earlier examples left of them."""
    rest = spans_of(epoch)
    for cut in earlier:
        rest = _joined(pack(rest, cut.seq_len)[cut.examples :])
    return pack(rest, seq_len)


def _pack_whole(documents: Sequence[Span], seq_len: int) -> EpochExamples:
    examples: dict[int, list[Span]] = {}
    rooms: list[tuple[int, int]] = []  # room left and number of each example that is not full, sorted
    for document in documents:
        rest: Span | None = document
        while rest:
            piece, rest = rest.split(seq_len)
            fitting = bisect_left(rooms, (piece.tokens, -1))
            room, number = rooms.pop(fitting) if fitting < len(rooms) else (seq_len, len(examples))
            examples[number] = [*examples.pop(number, []), piece]
            if room > piece.tokens:
                insort(rooms, (room - piece.tokens, number))
    return [tuple(example) for example in examples.values()]


def _pack_interleaved(documents: Sequence[Span], seq_len: int) -> EpochExamples:
    # The i-th of a document's n pieces, counted from 0, stands at (i + offset) / n of the epoch; offsets differ.
    starts = {span.document: (span.start, -(-span.tokens // seq_len)) for span in documents}
    offsets = {span.document: (rank + 0.5) / len(documents) for rank, span in enumerate(documents)}

    def position(piece: Span) -> float:
        start, pieces = starts[piece.document]
        return ((piece.start - start) // seq_len + offsets[piece.document]) / pieces

    return sorted(_pack_whole(documents, seq_len), key=lambda example: max(map(position, example)))


def _joined(examples: EpochExamples) -> list[Span]:
    """Returns the rest of each document, of which the examples hold the pieces in order."""
    rests: dict[int, Span] = {}
    for piece in chain.from_iterable(examples):
        start = rests.get(piece.document, piece).start
        rests[piece.document] = Span(piece.document, start, piece.stop)
    return list(rests.values())


def plan_fixed(spans_of: EpochSpans, seq_len: int, epoch: int, earlier: Sequence[Cut] = ()) -> EpochExamples:
    """Returns the examples that begin in an epoch, all of `seq_len`; the last may end in a later epoch.

    The epochs form one endless text, cut every `seq_len` tokens after the `earlier` examples. An epoch shorter than
    `seq_len` may begin no example.
    """
    epoch_tokens = sum(span.tokens for span in spans_of(epoch))
    begun_earlier = _begun_earlier(epoch, epoch_tokens, seq_len, earlier)
    n_examples = len(range(begun_earlier, epoch_tokens, seq_len))
    endless = chain.from_iterable(spans_of(later) for later in count(epoch))
    examples = _cut(endless, chain([begun_earlier], [seq_len] * n_examples))
    return list(islice(examples, 1, None)) if n_examples else []


def _begun_earlier(epoch: int, epoch_tokens: int, seq_len: int, earlier: Sequence[Cut]) -> int:
    """Returns how many tokens at the beginning of an epoch are in examples that began before it, or in earlier ones."""
    left = _tokens_of(earlier) - (epoch - 1) * epoch_tokens
    return left if left > 0 else left % seq_len


def _tokens_of(earlier: Sequence[Cut]) -> int:
    return sum(cut.seq_len * cut.examples for cut in earlier)


def _recut_whole(position: EpochPosition, seq_len: int, epoch_tokens: int) -> EpochPosition:
    return EpochPosition(position.epoch, 0, _with_cut(position.earlier, seq_len, position.next_example))


def _recut_fixed(position: EpochPosition, seq_len: int, epoch_tokens: int) -> EpochPosition:
    begun_earlier = _begun_earlier(position.epoch, epoch_tokens, seq_len, position.earlier)
    done_tokens = (position.epoch - 1) * epoch_tokens + begun_earlier + position.next_example * seq_len
    examples = (done_tokens - _tokens_of(position.earlier)) // seq_len
    return EpochPosition(done_tokens // epoch_tokens + 1, 0, _with_cut(position.earlier, seq_len, examples))


def _with_cut(earlier: tuple[Cut, ...], seq_len: int, examples: int) -> tuple[Cut, ...]:
    return (*earlier, Cut(seq_len, examples)) if examples else earlier


_WHOLE = Packing(
    plan_whole,
    lambda position: EpochPosition(position.epoch + 1, 0),
    _recut_whole,
    lambda epoch_tokens, seq_len, epoch: 0,
    min,
)
PACKINGS: dict[str, Packing] = {
    "whole": _WHOLE,
    "interleaved": replace(_WHOLE, plan=plan_interleaved),
    "fixed": Packing(
        plan_fixed,
        lambda position: EpochPosition(position.epoch + 1, 0, position.earlier),
        _recut_fixed,
        lambda epoch_tokens, seq_len, epoch: epoch * epoch_tokens % seq_len,
        lambda epoch_tokens, seq_len: seq_len,
    ),
}


def shuffled(numbers: Iterable[int], seed: int, purpose: str) -> list[int]:
    """Returns the numbers in an order derived from `seed` and `purpose`, independent of library versions."""
    return sorted(numbers, key=lambda number: hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest())


def hold_out(lengths: Sequence[int], share: float, seed: int) -> tuple[list[Span], list[Span]]:
    """Returns the training spans and the validation spans of documents of `lengths` tokens.

    Whole documents are held out, in a seeded order, as long as they fit into `share` of the tokens; where none fits,
    the shortest document. Of a single document the tail is held out. A share of 0 holds out nothing.
    """
    whole = [Span(number, 0, length) for number, length in enumerate(lengths)]
    if share == 0:
        return whole, []
    if len(whole) == 1:
        head, tail = whole[0].split(max(1, whole[0].tokens - max(1, round(share * whole[0].tokens))))
        return [head], [tail] if tail else []
    room = share * sum(lengths)
    chosen: set[int] = set()
    for number in shuffled(range(len(lengths)), seed, "validation"):
        if lengths[number] <= room:
            chosen.add(number)
            room -= lengths[number]
    if not chosen:
        chosen.add(min(range(len(lengths)), key=lambda number: lengths[number]))
    return [span for span in whole if span.document not in chosen], [whole[number] for number in sorted(chosen)]


def _cut(spans: Iterable[Span], lengths: Iterable[int]) -> Iterator[tuple[Span, ...]]:
    """Yields the concatenated spans, cut into groups of the given lengths."""
    remaining = iter(spans)
    rest: Span | None = None
    for length in lengths:
        group: list[Span] = []
        while length:
            piece, rest = (rest or next(remaining)).split(length)
            group.append(piece)
            length -= piece.tokens
        yield tuple(group)
