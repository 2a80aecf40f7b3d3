"""A sample of a corpus to train a tokenizer on: every passage of every document has the same chance.

Passages are numbered through, each draws a number from (seed, its number), and those with the lowest stay, as many as
fit: the sample of a stream of unknown length (a bottom-k sketch), the same whenever the corpus is the same.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator

from revlm.corpus.cleaning import utf8_length
from revlm.corpus.cutting import Cuts
from revlm.corpus.reading.events import Ended, Event, Piece, recut

# SentencePiece needs about ten times as much memory.
SAMPLE_BYTES = 1 << 25
PASSAGE_CHARACTERS = 1 << 13


def sample_passages(events: Iterable[Event], *, seed: int = 0, sample_bytes: int = SAMPLE_BYTES) -> list[str]:
    """Returns passages of the documents in their order, at most `sample_bytes` of UTF-8; all where they fit."""
    kept: list[tuple[int, int, int, str]] = []  # a heap: the passage that drew the highest number first
    size = document = 0
    documents: set[int] = set()
    for number, event in enumerate(recut(events, _passages)):
        if not isinstance(event, Piece):
            documents |= {document} if isinstance(event, Ended) else set()
            document += 1
            continue
        drawn = int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest())
        heapq.heappush(kept, (-drawn, number, document, event.text))
        size += utf8_length(event.text)
        while size > sample_bytes:
            size -= utf8_length(heapq.heappop(kept)[3])
    return [text for _, number, document, text in sorted(kept, key=lambda each: each[1]) if document in documents]


def _passages(pieces: Iterable[str]) -> Iterator[str]:
    return Cuts().parts(pieces, PASSAGE_CHARACTERS, PASSAGE_CHARACTERS)
