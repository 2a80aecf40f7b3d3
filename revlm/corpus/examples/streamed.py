"""Training and validation examples from texts that are tokenized during training.

Documents come in corpus order: their number is unknown in advance, so they cannot be shuffled. The next epoch begins at
the end of the corpus. Only what the next example may need is read ahead, so the state of the stream is a cursor in the
corpus and the number of tokens used of the document there.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from revlm.corpus.examples.corpus import (
    Corpus,
    CorpusStream,
    Example,
    PendingExample,
    Segment,
    StreamState,
    digest_of,
    example_of,
)
from revlm.corpus.examples.streamed_documents import (
    DocumentCursor,
    StreamedDocument,
    StreamSettings,
    streamed_documents,
)
from revlm.corpus.reading import events
from revlm.corpus.reading.refusing import OnError, Skipped
from revlm.corpus.reading.sources import Source
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.errors import DataError, StorageError


class Position(NamedTuple):
    """The epoch, the cursor before the first document with unused tokens, and how many of its tokens are used."""

    epoch: int = 1
    cursor: DocumentCursor = DocumentCursor()
    tokens: int = 0


class EpochReader:
    """Reads the documents of one epoch after another, from a position; skips those that are used up or unusable.

    `documents` returns the documents after a position.
    """

    def __init__(self, documents: Callable[[Position], Iterator[StreamedDocument]], position: Position) -> None:
        self._open, self._rest, self._known_tokens = documents, documents(position), position.tokens
        self._document: StreamedDocument | None = None
        self._passed = position
        self._found_any = position != Position(position.epoch)

    @property
    def epoch(self) -> int:
        return self._passed.epoch

    @property
    def position(self) -> Position:
        """The position before the first unused token."""
        document = self._document
        if document is None:
            return self._passed
        if document.is_used_up:
            return Position(self.epoch, document.ends)
        return Position(self.epoch, document.begins, document.used)

    def document(self) -> StreamedDocument | None:
        """Returns the current document, or the next one that has tokens; None at the epoch's end."""
        while self._document is None or not self._document.available():
            self._passed = self.position
            self._document = next(self._rest, None)
            if self._document is None:
                return None
            if not self._document.skip(self._known_tokens):
                raise StorageError(
                    f"the checkpoint's position in the corpus is past the end of {self._document.title!r}: "
                    "resume from an earlier checkpoint, or start a new run"
                )
            self._known_tokens = 0
        self._found_any = True
        return self._document

    def begin_epoch(self) -> None:
        """Starts the next epoch.

        Raises:
            DataError: the previous epoch had no tokens at all.
        """
        if not self._found_any:
            raise DataError("no text is left to train on: give a corpus with more texts, or a smaller data.validation")
        self._passed = Position(self.epoch + 1)
        self._document, self._found_any = None, False
        self._rest = self._open(self._passed)


def pack_whole(reader: EpochReader, seq_len: int) -> list[Segment]:
    """Returns the rest of a document, up to `seq_len` tokens, and the following documents that still fit.

    Returns nothing at the epoch's end.
    """
    segments: list[Segment] = []
    room = seq_len
    while room and (document := reader.document()) and (not segments or document.available() <= room):
        segments.append(document.next_segment(room))
        room -= segments[-1].tokens
    return segments


def pack_fixed(reader: EpochReader, seq_len: int) -> list[Segment]:
    """Returns the next `seq_len` tokens, across documents and epochs."""
    segments: list[Segment] = []
    room = seq_len
    while room:
        if document := reader.document():
            segments.append(document.next_segment(room))
            room -= segments[-1].tokens
        else:
            reader.begin_epoch()
    return segments


STREAM_PACKINGS: dict[str, Callable[[EpochReader, int], list[Segment]]] = {"whole": pack_whole, "fixed": pack_fixed}


class StreamedCorpus(Corpus):
    """The texts of a source as examples of at most `seq_len` tokens.

    With `whole` packing an example is a document and the following ones that still fit; a document longer than
    `seq_len` fills several examples, and following documents may join its last piece. With `fixed` packing the text of
    all epochs is cut every `seq_len` tokens. Whole documents are held out, each with the probability `validation`, by
    a seeded hash of the number of texts before it: about that share, and perhaps none of few documents.

    A text may prove unusable at its end. With `errors` "strict" that is an error. With "skip", and where the text is
    only white space, none of it is used if it has at most `seq_len` tokens; of a longer one, only the examples made by
    then are used. `on_skip` is called for it, in the first epoch.
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
        self._pack, self._stream_settings = STREAM_PACKINGS[packing], StreamSettings(tokenizer, seq_len, errors)
        self._on_skip = on_skip
        self._settings = digest_of([self.fingerprint, packing, seed, validation])
        self.notices = self._notices()

    def training(self, state: StreamState | None = None) -> "StreamedExamples":
        """As `Corpus.training`; a state fits only the same source, tokenizer and settings."""
        return StreamedExamples(self, state)

    def validation(self) -> Iterator[Example]:
        """As `Corpus.validation`; reads the source from its start and tokenizes only held-out documents."""
        if self._validation:
            reader = EpochReader(lambda position: self._documents(self._is_held_out), Position())
            while segments := pack_whole(reader, self._seq_len):
                yield self._example(segments, epoch=0)

    def documents(self, *, held_out: bool) -> Iterator[tuple[str, Iterator[tuple[int, Example]]]]:
        if held_out and not self._validation:
            return
        for document in self._documents(self._is_held_out if held_out else self._is_trained_on):
            if document.available():
                yield document.title, self._pieces(document)

    def _pieces(self, document: StreamedDocument) -> Iterator[tuple[int, Example]]:
        while document.available():
            yield document.used, self._example([document.next_segment(self._seq_len)], epoch=0)

    def _documents(self, wanted: Callable[[int], bool]) -> Iterator[StreamedDocument]:
        return streamed_documents(self._source, self._stream_settings, wanted)

    def _training_documents(self, position: Position) -> Iterator[StreamedDocument]:
        """Yields the training documents after a position; skipped texts are reported in the first epoch."""
        is_first = position.epoch == 1
        on_skip = self._on_skip if is_first else lambda skipped: None
        return streamed_documents(self._source, self._stream_settings, self._is_trained_on, position.cursor, on_skip)

    def _example(self, segments: list[Segment], epoch: int) -> Example:
        return example_of(segments, epoch, self.tokenizer)

    def _is_held_out(self, number: int) -> bool:
        """Whether the document with index `number` is held out, each with the same probability."""
        digest = hashlib.sha256(f"{self._seed}/validation/{number}".encode()).digest()
        return int.from_bytes(digest[:8]) < self._validation * 2**64

    def _is_trained_on(self, number: int) -> bool:
        return not self._is_held_out(number)

    def _notices(self) -> tuple[str, ...]:
        notices = [f"{self.name} is tokenized during training, with its documents in corpus order, not shuffled"]
        if self._validation:
            notices.append(
                f"about {self._validation:.1%} of the documents are held out; each evaluation reads the corpus from "
                "its start to find them, until evaluate.max_tokens are scored"
            )
        if skipped := self._source.skipped:
            first = f"{skipped[0].path}: {skipped[0].reason}"
            notices.append(f"skipped in {self.name}: {len(skipped):,} files or folders, first {first}")
        return tuple(notices)


class StreamedExamples(CorpusStream):
    """The endless training examples of a stream; `draw` tokenizes, since an example's extent depends on it."""

    def __init__(self, corpus: StreamedCorpus, state: StreamState | None) -> None:
        self._corpus, self._seq_len = corpus, corpus._seq_len
        self._position = Position() if state is None else self._parsed(state)
        self._reader: EpochReader | None = None

    def draw(self) -> PendingExample:
        """As `ExampleStream.draw`; an error leaves the position unchanged, and the next call reads again from there.

        Raises:
            DataError: a file or text cannot be used, or there is nothing to train on.
        """
        corpus = self._corpus
        reader, self._reader = self._reader or EpochReader(corpus._training_documents, self._position), None
        while reader.document() is None:
            reader.begin_epoch()
        epoch = reader.epoch
        segments = corpus._pack(reader, self._seq_len)
        self._position, self._reader = reader.position, reader
        return PendingExample(sum(segment.tokens for segment in segments), partial(corpus._example, segments, epoch))

    def set_seq_len(self, seq_len: int) -> None:
        assert seq_len <= self._corpus._seq_len, "longer than the documents' lookahead"
        self._seq_len = seq_len

    def state(self) -> StreamState:
        epoch, cursor, tokens = self._position
        return {
            "epoch": epoch,
            "place": list(cursor.position),
            "texts": cursor.texts,
            "tokens": tokens,
            "settings": self._corpus._settings,
        }

    def _parsed(self, state: StreamState) -> Position:
        place = state.get("place")
        numbers = [state.get("epoch"), state.get("texts"), state.get("tokens"), *(place or [None])]
        if len(numbers) != 5 or not all(type(number) is int and number >= 0 for number in numbers):
            raise StorageError("the checkpoint's position in the corpus is damaged; resume from an earlier checkpoint")
        if state.get("settings") != self._corpus._settings:
            raise StorageError(
                f"the checkpoint's position in the corpus does not fit {self._corpus.name}: its texts, the tokenizer, "
                "seed, data.packing or data.validation changed; restore them, or start a new run"
            )
        epoch, texts, tokens, *place = numbers
        return Position(epoch, DocumentCursor(events.ReadPosition(*place), texts), tokens)
