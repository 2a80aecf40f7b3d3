"""Encodes the texts of a stream in order, in this process or in several.

The unit of work is a chunk of text, not a document: a novel keeps every core busy, and so does a gigabyte on one line.
The work in flight is bounded, so memory does not depend on the corpus.
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

# Large enough to amortize the transfer, small enough to split a short novel over the workers.
CHUNK_CHARACTERS = 1 << 18
_BATCHES_IN_FLIGHT_PER_WORKER = 3


class Encoded(NamedTuple):
    """A piece and its tokens.

    Attributes:
        piece: whole parts of one text (`Tokenizer.parts`).
        ids: its tokens, [tokens] of `Tokenizer.token_dtype`.
        shingles: its `sampled_shingles`, uint64; of bytes none, since near duplicates are those of texts.
        differs_at: the byte offset at which the decoded ids first differ from the piece; None where they do not.
    """

    piece: Piece
    ids: npt.NDArray[np.unsignedinteger]
    shingles: npt.NDArray[np.uint64]
    differs_at: int | None


def chunks(tokenizer: Tokenizer, pieces: Iterable[str | bytes]) -> Iterator[str | bytes]:
    """Yields a text in chunks of whole parts, of about `CHUNK_CHARACTERS` each; bytes in the pieces of their reader."""
    if tokenizer.document_kind == "text":
        yield from _text_chunks(tokenizer, (piece for piece in pieces if isinstance(piece, str)))
    else:
        yield from pieces


def _text_chunks(tokenizer: Tokenizer, pieces: Iterable[str]) -> Iterator[str]:
    held: list[str] = []
    size = 0
    for part in tokenizer.parts(pieces):
        held.append(part)
        size += len(part)
        if size >= CHUNK_CHARACTERS:
            yield "".join(held)
            held, size = [], 0
    if held:
        yield "".join(held)


def encode(tokenizer: Tokenizer, piece: Piece) -> Encoded:
    """Returns the ids of a piece, and whether they decode to its bytes exactly."""
    ids, differs_at = checked_ids(tokenizer, piece.text)
    shingles = sampled_shingles(piece.text.encode() if isinstance(piece.text, str) else b"")
    return Encoded(piece, ids.astype(tokenizer.token_dtype), shingles, differs_at)


def checked_ids(tokenizer: Tokenizer, text: str | bytes) -> tuple[TokenIds, int | None]:
    """Returns the ids of a text or of bytes, and the byte offset at which their decoding first differs, or None."""
    if isinstance(text, bytes):
        ids, content = tokenizer.encode_bytes(text), text
    else:
        ids, content = tokenizer.encode(text), text.encode()
    decoded = tokenizer.decode_bytes(ids)
    return ids, None if decoded == content else _first_difference(decoded, content)


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))


def encode_stream(events: Iterable[Event], tokenizer: Tokenizer, workers: int) -> Generator[Encoded | Ended | Dropped]:
    """Yields the events in order, each piece encoded; one worker means this process.

    Raises:
        ResourceError: a worker process was killed.
    """
    if workers == 1:
        for event in events:
            yield encode(tokenizer, event) if isinstance(event, Piece) else event
        return
    with Workers(workers, tokenizer, _encode_all) as pool:
        in_flight: deque[list[Event]] = deque()
        for batch in _batches(events):
            pool.submit([event for event in batch if isinstance(event, Piece)])
            in_flight.append(batch)
            if len(in_flight) > workers * _BATCHES_IN_FLIGHT_PER_WORKER:
                yield from _merged(in_flight.popleft(), pool.next_result())
        while in_flight:
            yield from _merged(in_flight.popleft(), pool.next_result())


def _batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yields the events in batches of about `CHUNK_CHARACTERS` or more, so that short texts share one."""
    batch: list[Event] = []
    characters = 0
    for event in events:
        batch.append(event)
        characters += len(event.text) if isinstance(event, Piece) else 0
        if characters >= CHUNK_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _merged(batch: list[Event], encoded: list[Encoded]) -> Iterator[Encoded | Ended | Dropped]:
    remaining = iter(encoded)
    for event in batch:
        yield next(remaining)._replace(piece=event) if isinstance(event, Piece) else event


def _encode_all(tokenizer: Tokenizer, pieces: list[Piece]) -> list[Encoded]:
    """Returns the encoded pieces without their texts, which the parent process still has."""
    return [encode(tokenizer, piece)._replace(piece=piece._replace(text="")) for piece in pieces]
