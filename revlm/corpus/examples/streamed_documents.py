"""The documents of a source as tokens that are made when they are asked for.

No document is held whole: only the tokens that the next example may need are, and those of one block of text more.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np

from revlm.corpus.examples.corpus import Segment
from revlm.corpus.reading.events import START, Dropped, Ended, Event, Piece, ReadPosition, recut
from revlm.corpus.reading.refusing import OnError, Skipped
from revlm.corpus.reading.sources import Source
from revlm.corpus.tokenizing.encoding import blocks, checked_ids
from revlm.corpus.tokenizing.tokenizer import TokenIds, Tokenizer
from revlm.errors import DataError


class DocumentCursor(NamedTuple):
    """A position between two texts of a source, and how many texts come before it."""

    position: ReadPosition = START
    texts: int = 0


class Making(NamedTuple):
    """How documents become tokens: at most `reach` of them, and a block, are made before they are taken."""

    tokenizer: Tokenizer
    reach: int
    errors: OnError


class StreamedDocument:
    """One document, from its first token that is not taken yet.

    Attributes:
        title: its title.
        begins: the cursor before it.
        taken: how many of its tokens were taken.
    """

    def __init__(self, begins: DocumentCursor, first: Piece, rest: Iterator[Event], making: Making) -> None:
        self.title, self.begins, self.taken = first.title, begins, 0
        self._events, self._making = chain((first,), rest), making
        self._before = making.tokenizer.begin_id
        self._held: deque[TokenIds] = deque()
        self._n_held = self._read_bytes = 0
        self._end: Ended | Dropped | None = None
        self._lost: str | None = None

    def at_hand(self) -> int:
        """Returns how many tokens can be taken: more than the reach, or all that are left of the document.

        Whether a text can be used is known at its end. Where it cannot, none is at hand from the moment on from which
        the end is within reach: of a text no longer than that nothing is ever taken, of a longer one what came before.

        Raises:
            DataError: where errors are strict, at a file or text that cannot be used.
        """
        while self._end is None and self._n_held <= self._making.reach:
            self._read()
        return self._n_held

    def take(self, tokens: int) -> Segment:
        """Returns the next `tokens`, or as many as there are at hand, which are then taken."""
        before, parts = self._before, []
        wanted = min(tokens, self.at_hand())
        missing = wanted
        while missing:
            part = self._held.popleft()
            if len(part) > missing:
                self._held.appendleft(part[missing:])
            parts.append(part[:missing])
            missing -= len(parts[-1])
        self._note_taken(parts)
        return Segment(self.title, before, wanted, lambda out: np.concatenate(parts, out=out))

    def pass_over(self, tokens: int) -> bool:
        """Takes tokens that were taken before, in another reading; returns whether there are as many."""
        while tokens:
            while not self._n_held and self._end is None:
                self._read()
            if not self._n_held:
                return False
            part = self._held.popleft()
            if len(part) > tokens:
                self._held.appendleft(part[tokens:])
            self._note_taken([part[:tokens]])
            tokens -= len(part[:tokens])
        return True

    def finish(self) -> Ended | Dropped:
        """Returns what the text was, after reading what is left of it, of which no tokens are made."""
        while self._end is None:
            event = next(self._events)
            if not isinstance(event, Piece):
                self._close(event)
        return self._end

    @property
    def is_used_up(self) -> bool:
        """Whether it is known that no token is left."""
        return self._end is not None and not self._n_held

    @property
    def ends(self) -> DocumentCursor:
        """The cursor after it, once it is read to its end."""
        return DocumentCursor(self.finish().position, self.begins.texts + 1)

    def _read(self) -> None:
        """Goes on by a block of the text, or to its end."""
        event = next(self._events)
        if not isinstance(event, Piece):
            self._close(event)
            return
        ids, differs_at = checked_ids(self._making.tokenizer, event.text)
        if differs_at is not None:
            self._lose(f"its text differs from byte offset {self._read_bytes + differs_at} on")
            return
        self._read_bytes += len(event.text.encode())
        self._held.append(ids)
        self._n_held += len(ids)

    def _lose(self, place: str) -> None:
        if self._making.errors == "strict":
            raise DataError(
                f"the tokenizer does not give {self.title!r} back: {place}; use another data.tokenizer, or bytes"
            )
        self._lost = f"the tokenizer does not give it back: {place}"
        self.finish()

    def _close(self, end: Ended | Dropped) -> None:
        if self._lost is not None and isinstance(end, Ended):
            end = Dropped(end.position, Skipped(end.source, self._lost), end.read_bytes)
        self._end = end
        if isinstance(end, Dropped):
            self._held.clear()
            self._n_held = 0

    def _note_taken(self, parts: list[TokenIds]) -> None:
        tokens = sum(map(len, parts))
        if tokens:
            self._before = int(parts[-1][-1])
        self.taken += tokens
        self._n_held -= tokens


def streamed_documents(
    source: Source,
    making: Making,
    wanted: Callable[[int], bool],
    after: DocumentCursor = DocumentCursor(),  # noqa: B008 - a constant
    on_skip: Callable[[Skipped], object] = lambda skipped: None,
) -> Iterator[StreamedDocument]:
    """Yields the documents after a cursor that are `wanted`, by the number of texts before each, in the source's order.

    One is to be used before the next is asked for, which passes over what is left of it. `on_skip` is told of texts
    that cannot be used, among all that are passed.

    Raises:
        DataError: where errors are strict, at a file or text that cannot be used.
    """
    events = recut(source.events(after.position), partial(blocks, making.tokenizer))
    cursor = after
    for event in events:
        if isinstance(event, Piece):
            document = StreamedDocument(cursor, event, events, making)
            if wanted(cursor.texts):
                yield document
            event = document.finish()
        if isinstance(event, Dropped):
            on_skip(event.skipped)
        cursor = DocumentCursor(event.position, cursor.texts + 1)
