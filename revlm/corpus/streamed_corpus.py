"""Training and validation examples from texts that are tokenized while they are learned from.

Documents come in the order of the corpus, which is not known beforehand and so cannot be shuffled; at its end the next
epoch begins. Nothing is read ahead but what the next example may need, so the place in the stream is that of a document
in the corpus and the tokens of it that were used.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

from revlm.corpus.examples import Corpus, Draft, Example, ExampleStream, Place, Segment, digest_of, example_of
from revlm.corpus.reading import events
from revlm.corpus.reading.refusing import OnError, Skipped
from revlm.corpus.reading.sources import Source
from revlm.corpus.stream_packing import STREAM_PACKINGS, Position, Reading, take_whole
from revlm.corpus.streamed_documents import Making, Mark, StreamedDocument, streamed_documents
from revlm.corpus.tokenizer import Tokenizer
from revlm.errors import StorageError


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

    def training(self, state: Place | None = None) -> "StreamedExamples":
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
        return streamed_documents(self._source, self._making, self._is_trained_on, position.mark, on_skip)

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

    def __init__(self, corpus: StreamedCorpus, state: Place | None) -> None:
        self._corpus = corpus
        self._position = Position() if state is None else self._position_in(state)
        self._reading: Reading | None = None

    def draw(self) -> Draft:
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
        return Draft(sum(segment.tokens for segment in segments), partial(corpus._example, segments, epoch))

    def state(self) -> Place:
        epoch, mark, tokens = self._position
        return {
            "epoch": epoch,
            "place": list(mark.place),
            "texts": mark.texts,
            "tokens": tokens,
            "settings": self._corpus._settings,
        }

    def _position_in(self, state: Place) -> Position:
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
        return Position(epoch, Mark(events.Place(*place), texts), tokens)
