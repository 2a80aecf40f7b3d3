"""Training and validation examples from texts that are tokenized while they are learned from.

Documents come in the order of the corpus, which is not known beforehand and so cannot be shuffled; at its end the next
epoch begins. Nothing is read ahead but what the next example may need, so the place in the stream is that of a document
in the corpus and the tokens of it that were used.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from revlm.corpus.examples.corpus import (
    Corpus,
    Example,
    ExampleStream,
    PendingExample,
    Segment,
    StreamState,
    digest_of,
    example_of,
)
from revlm.corpus.examples.streamed_documents import DocumentCursor, Making, StreamedDocument, streamed_documents
from revlm.corpus.reading import events
from revlm.corpus.reading.refusing import OnError, Skipped
from revlm.corpus.reading.sources import Source
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.errors import DataError, StorageError


class Position(NamedTuple):
    """The epoch, the cursor before the first document that is not used up, and how many tokens of it are used."""

    epoch: int = 1
    cursor: DocumentCursor = DocumentCursor()
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


class StreamedCorpus(Corpus):
    """The texts of a source as examples of at most `seq_len` tokens.

    Packed as `whole`, an example is a document and those after it that still fit; one that is longer than `seq_len`
    continues in examples of its own, and those after it may join its last piece. As `fixed`, the text of all epochs is
    cut every `seq_len` tokens. Held out are whole documents, each with the probability `validation`, by a seeded hash
    of the number of texts before it: about that share, of few documents perhaps none.

    A text may prove unusable at its end. With `errors` "strict" that is an error; with "skip", and where it is only
    white space, nothing of it is used where it has at most `seq_len` tokens, and of a longer one nothing that comes
    after the examples made by then. `on_skip` is told of it, in the first epoch.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: Tokenizer,
        *,
        seq_len: int,
        packing: str,
        seed: int,
        validation: float,
        errors: OnError = "strict",
        on_skip: Callable[[Skipped], object] = lambda skipped: None,
    ) -> None:
        self.name, self.tokenizer, self.longest_example = source.name, tokenizer, seq_len
        self.fingerprint = digest_of([source.identity, tokenizer.fingerprint])
        self._source, self._seq_len, self._validation, self._seed = source, seq_len, validation, seed
        self._take, self._making = STREAM_PACKINGS[packing], Making(tokenizer, seq_len, errors)
        self._on_skip = on_skip
        self._settings = digest_of([self.fingerprint, seq_len, packing, seed, validation])
        self.notices = self._notices()

    def training(self, state: StreamState | None = None) -> "StreamedExamples":
        """As `Corpus.training`; a state belongs to a source, tokenizer, seed, packing, length and validation share."""
        return StreamedExamples(self, state)

    def validation(self) -> Iterator[Example]:
        """As `Corpus.validation`; reads the source from its start and tokenizes only what is held out."""
        if self._validation:
            reading = Reading(lambda position: self._documents(self._is_held_out), Position())
            while segments := take_whole(reading, self._seq_len):
                yield self._example(segments, epoch=0)

    def documents(self, *, held_out: bool) -> Iterator[tuple[str, Iterator[tuple[int, Example]]]]:
        if held_out and not self._validation:
            return
        for document in self._documents(self._is_held_out if held_out else self._is_trained_on):
            if document.at_hand():
                yield document.title, self._pieces(document)

    def _pieces(self, document: StreamedDocument) -> Iterator[tuple[int, Example]]:
        while document.at_hand():
            yield document.taken, self._example([document.take(self._seq_len)], epoch=0)

    def _documents(self, wanted: Callable[[int], bool]) -> Iterator[StreamedDocument]:
        return streamed_documents(self._source, self._making, wanted)

    def _training_documents(self, position: Position) -> Iterator[StreamedDocument]:
        """Those after a position; in the first epoch it is said what is left out."""
        is_first = position.epoch == 1
        on_skip = self._on_skip if is_first else lambda skipped: None
        return streamed_documents(self._source, self._making, self._is_trained_on, position.cursor, on_skip)

    def _example(self, segments: list[Segment], epoch: int) -> Example:
        return example_of(segments, epoch, self.tokenizer)

    def _is_held_out(self, number: int) -> bool:
        """Whether the document after so many texts is; each has the same chance, whatever comes after it."""
        digest = hashlib.sha256(f"{self._seed}/validation/{number}".encode()).digest()
        return int.from_bytes(digest[:8]) < self._validation * 2**64

    def _is_trained_on(self, number: int) -> bool:
        return not self._is_held_out(number)

    def _notices(self) -> tuple[str, ...]:
        notices = [f"{self.name} is tokenized while training, its documents in their order: nothing is shuffled"]
        if self._validation:
            notices.append(
                f"about {self._validation:.1%} of the documents are held out; each evaluation reads the corpus from "
                "its start to find them, until evaluate.max_tokens are scored"
            )
        if skipped := self._source.skipped:
            first = f"{skipped[0].path}: {skipped[0].reason}"
            notices.append(f"left out of {self.name}: {len(skipped):,} files or folders, first {first}")
        return tuple(notices)


class StreamedExamples(ExampleStream):
    """The endless training examples of a stream; `draw` tokenizes, since what an example holds depends on it."""

    def __init__(self, corpus: StreamedCorpus, state: StreamState | None) -> None:
        self._corpus = corpus
        self._position = Position() if state is None else self._position_in(state)
        self._reading: Reading | None = None

    def draw(self) -> PendingExample:
        """As `ExampleStream.draw`; after an error the place is what it was, and the next call reads again from there.

        Raises:
            DataError: a file or text cannot be used, or there is nothing to train on.
        """
        corpus = self._corpus
        reading, self._reading = self._reading or Reading(corpus._training_documents, self._position), None
        while reading.document() is None:
            reading.begin_epoch()
        epoch = reading.epoch
        segments = corpus._take(reading, corpus._seq_len)
        self._position, self._reading = reading.position, reading
        return PendingExample(sum(segment.tokens for segment in segments), partial(corpus._example, segments, epoch))

    def state(self) -> StreamState:
        epoch, cursor, tokens = self._position
        return {
            "epoch": epoch,
            "place": list(cursor.position),
            "texts": cursor.texts,
            "tokens": tokens,
            "settings": self._corpus._settings,
        }

    def _position_in(self, state: StreamState) -> Position:
        place = state.get("place")
        numbers = [state.get("epoch"), state.get("texts"), state.get("tokens"), *(place or [None])]
        if len(numbers) != 5 or not all(type(number) is int and number >= 0 for number in numbers):
            raise StorageError("the checkpoint's place in the corpus is damaged; go on from an earlier checkpoint")
        if state.get("settings") != self._corpus._settings:
            raise StorageError(
                f"the checkpoint's place in the corpus does not fit {self._corpus.name}: its texts, the tokenizer, "
                "seed, data.seq_len, data.packing or data.validation changed; restore them, or start a new run"
            )
        epoch, texts, tokens, *place = numbers
        return Position(epoch, DocumentCursor(events.ReadPosition(*place), texts), tokens)
