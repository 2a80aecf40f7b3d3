"""Encodes the texts of a stream, in this process or in several, in the order in which they came.

Blocks of a text are passed on, not documents: a novel keeps every core busy, and so does a gigabyte on one line. What
is in work at one time is bounded, so memory does not depend on the corpus.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from revlm.corpus.duplicates import sampled_shingles
from revlm.corpus.events import Dropped, Ended, Event, Piece
from revlm.corpus.tokenizer import Tokenizer
from revlm.errors import ResourceError

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
    text = piece.text.encode()
    ids = tokenizer.encode(piece.text)
    decoded = tokenizer.decode_bytes(ids)
    differs_at = None if decoded == text else _first_difference(decoded, text)
    return Encoded(piece, ids.astype(tokenizer.token_dtype), sampled_shingles(text), differs_at)


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
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(tokenizer,))
    in_work: deque[tuple[list[Event], Future[list[Encoded]]]] = deque()
    try:
        for batch in _batches(events):
            pieces = [event for event in batch if isinstance(event, Piece)]
            in_work.append((batch, pool.submit(_encode_in_worker, pieces)))
            if len(in_work) > workers * _BATCHES_IN_WORK_PER_WORKER:
                yield from _merged(*in_work.popleft())
        while in_work:
            yield from _merged(*in_work.popleft())
    except BrokenProcessPool as error:
        raise ResourceError(
            f"one of {workers} worker processes was killed, perhaps because memory ran out; "
            "run the same command again with fewer --workers to go on"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


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


def _merged(batch: list[Event], work: Future[list[Encoded]]) -> Iterator[Encoded | Ended | Dropped]:
    encoded = iter(work.result())
    for event in batch:
        yield next(encoded)._replace(piece=event) if isinstance(event, Piece) else event


_tokenizer: Tokenizer  # of a worker process


def _start_worker(tokenizer: Tokenizer) -> None:
    global _tokenizer
    _tokenizer = tokenizer
    # Ctrl-C in a terminal reaches every process: the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, killed or not: its queue would never say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _encode_in_worker(pieces: list[Piece]) -> list[Encoded]:
    """Returns what became of the pieces, without the texts, which the parent has at hand."""
    return [encode(_tokenizer, piece)._replace(piece=piece._replace(text="")) for piece in pieces]
