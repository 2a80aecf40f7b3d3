"""Decides which tokens of a stream of documents form an example, from those at hand; see `packing` for token stores."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from revlm.corpus.examples.corpus import Segment
from revlm.corpus.examples.streamed_documents import Mark, StreamedDocument
from revlm.errors import DataError, StorageError


class Position(NamedTuple):
    """The epoch, the mark before the first document that is not used up, and how many tokens of it are used."""

    epoch: int = 1
    mark: Mark = Mark()
    tokens: int = 0


class Reading:
    """The documents of one epoch after another, from a position on; what is used up or cannot be used is left behind.

    `documents` opens those after a position.
    """

    def __init__(self, documents: Callable[[Position], Iterator[StreamedDocument]], position: Position) -> None:
        self._open, self._rest, self._known_tokens = documents, documents(position), position.tokens
        self._document: StreamedDocument | None = None
        self._left_behind = position
        self._found_any = position != Position(position.epoch)

    @property
    def epoch(self) -> int:
        return self._left_behind.epoch

    @property
    def position(self) -> Position:
        """Where to read again what was not taken."""
        document = self._document
        if document is None:
            return self._left_behind
        if document.is_used_up:
            return Position(self.epoch, document.ends)
        return Position(self.epoch, document.begins, document.taken)

    def document(self) -> StreamedDocument | None:
        """Returns the next document of the epoch of which there are tokens at hand; None at the epoch's end."""
        while self._document is None or not self._document.at_hand():
            self._left_behind = self.position
            self._document = next(self._rest, None)
            if self._document is None:
                return None
            if not self._document.pass_over(self._known_tokens):
                raise StorageError(
                    f"the checkpoint's place in the corpus is behind the end of {self._document.title!r}: "
                    "go on from an earlier checkpoint, or start a new run"
                )
            self._known_tokens = 0
        self._found_any = True
        return self._document

    def begin_epoch(self) -> None:
        """Goes on with the next epoch.

        Raises:
            DataError: the one before had no tokens at all.
        """
        if not self._found_any:
            raise DataError("no text is left to train on: give a corpus with more texts, or a smaller data.validation")
        self._left_behind = Position(self.epoch + 1)
        self._document, self._found_any = None, False
        self._rest = self._open(self._left_behind)


def take_whole(reading: Reading, seq_len: int) -> list[Segment]:
    """Returns what is left of a document, or `seq_len` tokens of it, and those after it in the epoch that still fit.

    Returns nothing at the epoch's end.
    """
    segments: list[Segment] = []
    room = seq_len
    while room and (document := reading.document()) and (not segments or document.at_hand() <= room):
        segments.append(document.take(room))
        room -= segments[-1].tokens
    return segments


def take_fixed(reading: Reading, seq_len: int) -> list[Segment]:
    """Returns the next `seq_len` tokens, whatever the number of documents and epochs they are of."""
    segments: list[Segment] = []
    room = seq_len
    while room:
        if document := reading.document():
            segments.append(document.take(room))
            room -= segments[-1].tokens
        else:
            reading.begin_epoch()
    return segments


STREAM_PACKINGS: dict[str, Callable[[Reading, int], list[Segment]]] = {"whole": take_whole, "fixed": take_fixed}
