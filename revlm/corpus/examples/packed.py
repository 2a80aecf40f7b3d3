"""Training and validation examples from a token store, in a seeded order that resumes at any example.

Tokens stay in the memory-mapped file; an example copies only its own slices. The slices are a pure function of the
epoch and the settings (`packing`), so the state of the stream is two numbers.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

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
from revlm.corpus.examples.packing import PACKINGS, EpochExamples, Span, hold_out, plan_whole, shuffled
from revlm.corpus.store.token_store import TokenStore
from revlm.errors import DataError, StorageError, UsageError


class PackedCorpus(Corpus):
    """A token store as examples of at most `seq_len` tokens.

    Attributes:
        path: the store; `fingerprint` is its manifest's.
        training_documents: titles of the training documents, in the store's order.
        validation_documents: titles of the held-out documents; a document whose tail is held out is in both.
        n_training_tokens: targets of one epoch.
        n_validation_tokens: targets of one validation.

    Raises:
        UsageError: `seq_len`, `packing` or `validation` is out of range.
        DataError: `path` is not a complete store, or holds too little to hold anything out.
    """

    def __init__(
        self, path: Path | str, *, seq_len: int, packing: str, seed: int, validation: float, verified: bool = False
    ) -> None:
        """`verified` is as for `TokenStore`."""
        if seq_len < 1:
            raise UsageError(f"data.seq_len is {seq_len} and must be at least 1")
        if packing not in PACKINGS:
            raise UsageError(f"data.packing is {packing!r} and must be one of {', '.join(PACKINGS)}")
        if not 0 <= validation < 1:
            raise UsageError(f"data.validation is {validation} and must be at least 0 and below 1")
        store = TokenStore(path, verified=verified)
        self.path, self.name = store.folder, str(store.folder)
        self.tokenizer = store.tokenizer
        self.fingerprint = store.fingerprint
        self.seq_len = seq_len
        self._packing = PACKINGS[packing]
        self._seed = seed
        self._settings = digest_of([self.fingerprint, seq_len, packing, seed, validation])
        self._texts, self._titles = store.texts, store.titles
        lengths = self._texts.lengths
        self._training, self._validation = hold_out(lengths, validation, seed)
        self.training_documents = tuple(self._titles[span.document] for span in self._training)
        self.validation_documents = tuple(self._titles[span.document] for span in self._validation)
        self.n_training_tokens = sum(span.tokens for span in self._training)
        self.n_validation_tokens = sum(span.tokens for span in self._validation)
        if validation and not self._validation:
            raise DataError(f"{path} holds a single token, too little to hold out any; set data.validation to 0")
        self.notices = self._notices(validation)
        self.longest_example = self._packing.longest_example(self.n_training_tokens, seq_len)
        self._plan = lru_cache(maxsize=2)(self._plan_of_epoch)

    def training(self, state: StreamState | None = None) -> "TrainingStream":
        """As `Corpus.training`; a state fits only the same store, seed, packing, length and validation share."""
        return TrainingStream(self, state)

    def validation(self) -> Iterator[Example]:
        for spans in plan_whole(lambda epoch: self._validation, self.seq_len, 1):
            yield self._example(spans, epoch=0)

    def documents(self, *, held_out: bool) -> Iterator[tuple[str, Iterator[tuple[int, Example]]]]:
        for span in self._validation if held_out else self._training:
            yield self._titles[span.document], self._pieces(span)

    def _pieces(self, document: Span) -> Iterator[tuple[int, Example]]:
        rest: Span | None = document
        while rest:
            piece, rest = rest.split(self.seq_len)
            yield piece.start, self._example((piece,), epoch=0)

    def carried_tokens(self, epoch: int) -> int:
        """Returns how many tokens of an epoch, from 1, go into an example that ends in a later epoch."""
        return self._packing.carried_tokens(self.n_training_tokens, self.seq_len, epoch)

    def _plan_of_epoch(self, epoch: int) -> EpochExamples:
        return self._packing.plan(self._spans_of_epoch, self.seq_len, epoch)

    def _spans_of_epoch(self, epoch: int) -> list[Span]:
        order = shuffled(range(len(self._training)), self._seed, f"epoch {epoch}")
        return [self._training[number] for number in order]

    def _example(self, spans: tuple[Span, ...], epoch: int) -> Example:
        return example_of([self._segment(span) for span in spans], epoch, self.tokenizer)

    def _segment(self, span: Span) -> Segment:
        text = self._texts[span.document]
        before = text.token(span.start - 1) if span.start else self.tokenizer.begin_id
        return Segment(
            self._titles[span.document], before, span.tokens, lambda out: text.copy_into(out, start=span.start)
        )

    def _notices(self, validation: float) -> tuple[str, ...]:
        if not self._validation:
            return ()
        share = self.n_validation_tokens / (self.n_training_tokens + self.n_validation_tokens)
        held_out = f"{self.n_validation_tokens:,} tokens ({share:.1%})"
        if len(self._texts) == 1:
            return (f"the corpus is one document: its last {held_out} are held out for validation",)
        if share > validation:
            title = self.validation_documents[0]
            return (f"no document is within {validation:.1%} of the tokens: {title!r}, {held_out}, is held out",)
        return ()


class TrainingStream(ExampleStream):
    """The endless training examples of a store; the state is the epoch and the next example in it."""

    def __init__(self, corpus: PackedCorpus, state: StreamState | None) -> None:
        self._corpus = corpus
        self._epoch, self._next_example = 1, 0
        if state is not None:
            self._epoch, self._next_example = self._parsed(state)

    def draw(self) -> PendingExample:
        while self._next_example >= len(self._corpus._plan(self._epoch)):
            self._epoch, self._next_example = self._epoch + 1, 0
        spans = self._corpus._plan(self._epoch)[self._next_example]
        self._next_example += 1
        return PendingExample(sum(span.tokens for span in spans), partial(self._corpus._example, spans, self._epoch))

    def state(self) -> StreamState:
        return {"epoch": self._epoch, "next_example": self._next_example, "settings": self._corpus._settings}

    def _parsed(self, state: StreamState) -> tuple[int, int]:
        epoch, next_example = state.get("epoch"), state.get("next_example")
        if not (isinstance(epoch, int) and isinstance(next_example, int) and epoch >= 1 and next_example >= 0):
            raise StorageError("the checkpoint's position in the corpus is damaged; resume from an earlier checkpoint")
        if state.get("settings") != self._corpus._settings:
            raise StorageError(
                f"the checkpoint's position in the corpus does not fit {self._corpus.path}: the tokens, seed, "
                "data.seq_len, data.packing or data.validation changed; restore them, or start a new run"
            )
        return epoch, next_example
