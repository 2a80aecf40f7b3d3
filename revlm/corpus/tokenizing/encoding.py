"""Encodes the texts of a stream, in this process or in several, in the order in which they came.

Blocks of a text are passed on, not documents: a novel keeps every core busy, and so does a gigabyte on one line. What
is in work at one time is bounded, so memory does not depend on the corpus.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from revlm.corpus.reading.events import Dropped, Ended, Event, Piece
from revlm.corpus.store.duplicates import sampled_shingles
from revlm.corpus.tokenizing.tokenizer import TokenIds, Tokenizer
from revlm.corpus.tokenizing.workers import Workers

# Enough work to make passing it on cheap, little enough to share out a short novel.
BLOCK_CHARACTERS = 1 << 18
_BATCHES_IN_WORK_PER_WORKER = 3


class Encoded(NamedTuple):
    """A piece and what became of it.

    Attributes:
        piece: whole parts of one text (`Tokenizer.parts`).
        ids: its tokens, [tokens] of `Tokenizer.token_dtype`.
        shingles: its `sampled_shingles`.
        differs_at: the byte from which on the ids do not give the piece back; None where they do.
    """

    piece: Piece
    ids: npt.NDArray[np.unsignedinteger]
    shingles: npt.NDArray[np.uint64]
    differs_at: int | None


def blocks(tokenizer: Tokenizer, pieces: Iterable[str]) -> Iterator[str]:
    """Yields a text in the blocks in which it is encoded: as many whole parts as make enough work."""
    held: list[str] = []
    size = 0
    for part in tokenizer.parts(pieces):
        held.append(part)
        size += len(part)
        if size >= BLOCK_CHARACTERS:
            yield "".join(held)
            held, size = [], 0
    if held:
        yield "".join(held)


def encode(tokenizer: Tokenizer, piece: Piece) -> Encoded:
    """Returns the ids of a piece, checked to decode to its very bytes."""
    ids, differs_at = checked_ids(tokenizer, piece.text)
    return Encoded(piece, ids.astype(tokenizer.token_dtype), sampled_shingles(piece.text.encode()), differs_at)


def checked_ids(tokenizer: Tokenizer, text: str) -> tuple[TokenIds, int | None]:
    """Returns the ids of a text, and the byte from which on they do not give it back; None where they do."""
    ids, content = tokenizer.encode(text), text.encode()
    decoded = tokenizer.decode_bytes(ids)
    return ids, None if decoded == content else _first_difference(decoded, content)


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))


def encode_stream(events: Iterable[Event], tokenizer: Tokenizer, workers: int) -> Generator[Encoded | Ended | Dropped]:
    """Yields the events in their order, each piece encoded; one worker is this process itself.

    Raises:
        ResourceError: a worker process was killed.
    """
    if workers == 1:
        for event in events:
            yield encode(tokenizer, event) if isinstance(event, Piece) else event
        return
    with Workers(workers, tokenizer, _encode_all) as pool:
        in_work: deque[list[Event]] = deque()
        for batch in _batches(events):
            pool.give([event for event in batch if isinstance(event, Piece)])
            in_work.append(batch)
            if len(in_work) > workers * _BATCHES_IN_WORK_PER_WORKER:
                yield from _merged(in_work.popleft(), pool.take())
        while in_work:
            yield from _merged(in_work.popleft(), pool.take())


def _batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yields the events in lists that are worth passing on, short texts together."""
    batch: list[Event] = []
    characters = 0
    for event in events:
        batch.append(event)
        characters += len(event.text) if isinstance(event, Piece) else 0
        if characters >= BLOCK_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _merged(batch: list[Event], encoded: list[Encoded]) -> Iterator[Encoded | Ended | Dropped]:
    remaining = iter(encoded)
    for event in batch:
        yield next(remaining)._replace(piece=event) if isinstance(event, Piece) else event


def _encode_all(tokenizer: Tokenizer, pieces: list[Piece]) -> list[Encoded]:
    """Returns what became of the pieces, without the texts, which the process that asks has at hand."""
    return [encode(tokenizer, piece)._replace(piece=piece._replace(text="")) for piece in pieces]
