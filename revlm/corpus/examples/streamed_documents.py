"""The documents of a source, tokenized lazily.

No document is held whole: only the tokens that the next example may need, plus those of one more chunk of text.
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
from revlm.corpus.tokenizing.encoding import checked_ids, chunks
from revlm.corpus.tokenizing.tokenizer import TokenIds, Tokenizer
from revlm.errors import DataError


class DocumentCursor(NamedTuple):
    """A position between two texts of a source, and how many texts come before it."""

    position: ReadPosition = START
    texts: int = 0


class StreamSettings(NamedTuple):
    """How documents are tokenized: at most `lookahead` tokens, plus a chunk, before they are used."""

    tokenizer: Tokenizer
    lookahead: int
    errors: OnError


class StreamedDocument:
    """One document, from its first unused token.

    Attributes:
        title: its title.
        begins: the cursor before it.
        used: how many of its tokens are used.
    """

    def __init__(self, begins: DocumentCursor, first: Piece, rest: Iterator[Event], settings: StreamSettings) -> None:
        self.title, self.begins, self.used = first.title, begins, 0
        self._events, self._settings = chain((first,), rest), settings
        self._before = settings.tokenizer.begin_id
        self._held: deque[TokenIds] = deque()
        self._n_held = self._read_bytes = 0
        self._end: Ended | Dropped | None = None
        self._rejected: str | None = None

    def available(self) -> int:
        """Returns how many tokens can be used now: more than the lookahead, or the whole rest of the document.

        Whether a text is usable is known only at its end. No token of an unusable one is available once its end is
        within the lookahead: a text shorter than that is never used, a longer one up to there.

        Raises:
            DataError: where errors are strict, at a file or text that cannot be used.
        """
        while self._end is None and self._n_held <= self._settings.lookahead:
            self._read()
        return self._n_held

    def next_segment(self, tokens: int) -> Segment:
        """Returns the next `tokens`, or as many as are available, and marks them as used."""
        before, parts = self._before, []
        wanted = min(tokens, self.available())
        missing = wanted
        while missing:
            part = self._held.popleft()
            if len(part) > missing:
                self._held.appendleft(part[missing:])
            parts.append(part[:missing])
            missing -= len(parts[-1])
        self._mark_used(parts)
        return Segment(self.title, before, wanted, lambda out: np.concatenate(parts, out=out))

    def skip(self, tokens: int) -> bool:
        """Skips `tokens` tokens that an earlier run used; returns whether there are as many."""
        while tokens:
            while not self._n_held and self._end is None:
                self._read()
            if not self._n_held:
                return False
            part = self._held.popleft()
            if len(part) > tokens:
                self._held.appendleft(part[tokens:])
            self._mark_used([part[:tokens]])
            tokens -= len(part[:tokens])
        return True

    def finish(self) -> Ended | Dropped:
        """Returns the event that ends the document, after reading the rest of the text without tokenizing it."""
        while self._end is None:
            event = next(self._events)
            if not isinstance(event, Piece):
                self._close(event)
        return self._end

    @property
    def is_used_up(self) -> bool:
        """Whether the document is known to have no unused token."""
        return self._end is not None and not self._n_held

    @property
    def ends(self) -> DocumentCursor:
        """The cursor after the document; reads to its end."""
        return DocumentCursor(self.finish().position, self.begins.texts + 1)

    def _read(self) -> None:
        """Tokenizes the next chunk of the text, or reads its end."""
        event = next(self._events)
        if not isinstance(event, Piece):
            self._close(event)
            return
        ids, differs_at = checked_ids(self._settings.tokenizer, event.text)
        if differs_at is not None:
            self._reject(f"its text differs from byte offset {self._read_bytes + differs_at} on")
            return
        self._read_bytes += int(self._settings.tokenizer.byte_lengths[ids].sum())
        self._held.append(ids)
        self._n_held += len(ids)

    def _reject(self, reason: str) -> None:
        if self._settings.errors == "strict":
            raise DataError(
                f"the tokenizer does not reproduce {self.title!r}: {reason}; use another data.tokenizer, or bytes"
            )
        self._rejected = f"the tokenizer does not reproduce it: {reason}"
        self.finish()

    def _close(self, end: Ended | Dropped) -> None:
        if self._rejected is not None and isinstance(end, Ended):
            end = Dropped(end.position, Skipped(end.source, self._rejected), end.read_bytes)
        self._end = end
        if isinstance(end, Dropped):
            self._held.clear()
            self._n_held = 0

    def _mark_used(self, parts: list[TokenIds]) -> None:
        tokens = sum(map(len, parts))
        if tokens:
            self._before = int(parts[-1][-1])
        self.used += tokens
        self._n_held -= tokens


def streamed_documents(
    source: Source,
    settings: StreamSettings,
    wanted: Callable[[int], bool],
    after: DocumentCursor = DocumentCursor(),  # noqa: B008 - a constant
    on_skip: Callable[[Skipped], object] = lambda skipped: None,
) -> Iterator[StreamedDocument]:
    """Yields the documents after a cursor whose index is `wanted`, in the source's order.

    Use one document before requesting the next, which discards the rest of it. `on_skip` is called for every unusable
    text, wanted or not.

    Raises:
        DataError: where errors are strict, at a file or text that cannot be used.
    """
    events = recut(source.events(after.position), partial(chunks, settings.tokenizer))
    cursor = after
    for event in events:
        if isinstance(event, Piece):
            document = StreamedDocument(cursor, event, events, settings)
            if wanted(cursor.texts):
                yield document
            event = document.finish()
        if isinstance(event, Dropped):
            on_skip(event.skipped)
        cursor = DocumentCursor(event.position, cursor.texts + 1)
