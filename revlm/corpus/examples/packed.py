"""Training and validation examples from a token store, in a seeded order that resumes at any example.

Tokens stay in the memory-mapped file; an example copies only its own slices. The slices are a pure function of the
epoch, the settings and the changes of length (`packing`), so the state of the stream is a few numbers.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

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
from revlm.corpus.examples.packing import (
    PACKINGS,
    Cut,
    EpochExamples,
    EpochPosition,
    Span,
    hold_out,
    plan_whole,
    shuffled,
)
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
        self._settings = digest_of([self.fingerprint, packing, seed, validation])
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
        """As `Corpus.training`; a state fits only the same store, seed, packing and validation share."""
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

    def _plan_of_epoch(self, seq_len: int, epoch: int, earlier: tuple[Cut, ...]) -> EpochExamples:
        return self._packing.plan(self._spans_of_epoch, seq_len, epoch, earlier)

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


class TrainingStream(CorpusStream):
    """The endless training examples of a store; the state is the position and the length of its examples."""

    def __init__(self, corpus: PackedCorpus, state: StreamState | None) -> None:
        self._corpus = corpus
        self._seq_len, self._position = (corpus.seq_len, EpochPosition(1, 0)) if state is None else self._parsed(state)

    def draw(self) -> PendingExample:
        while self._position.next_example >= len(self._plan()):
            self._position = self._corpus._packing.next_epoch(self._position)
        spans = self._plan()[self._position.next_example]
        epoch = self._position.epoch
        self._position = self._position._replace(next_example=self._position.next_example + 1)
        return PendingExample(sum(span.tokens for span in spans), partial(self._corpus._example, spans, epoch))

    def set_seq_len(self, seq_len: int) -> None:
        if seq_len != self._seq_len:
            self._position = self._corpus._packing.recut(self._position, self._seq_len, self._corpus.n_training_tokens)
            self._seq_len = seq_len

    def state(self) -> StreamState:
        epoch, next_example, earlier = self._position
        state = {"epoch": epoch, "next_example": next_example, "seq_len": self._seq_len}
        return state | {"earlier": [list(cut) for cut in earlier], "settings": self._corpus._settings}

    def _plan(self) -> EpochExamples:
        return self._corpus._plan(self._seq_len, self._position.epoch, self._position.earlier)

    def _parsed(self, state: StreamState) -> tuple[int, EpochPosition]:
        numbers, earlier = [state.get(key, -1) for key in ("epoch", "next_example", "seq_len")], state.get("earlier")
        if not (
            _are_counts(numbers)
            and 0 not in (numbers[0], numbers[2])
            and isinstance(earlier, list)
            and all(isinstance(cut, list) and len(cut) == 2 and _are_counts(cut) and cut[0] for cut in earlier)
        ):
            raise StorageError("the checkpoint's position in the corpus is damaged; resume from an earlier checkpoint")
        if state.get("settings") != self._corpus._settings:
            raise StorageError(
                f"the checkpoint's position in the corpus does not fit {self._corpus.path}: the tokens, seed, "
                "data.packing or data.validation changed; restore them, or start a new run"
            )
        epoch, next_example, seq_len = numbers
        return seq_len, EpochPosition(epoch, next_example, tuple(Cut(*cut) for cut in earlier))


def _are_counts(values: Iterable[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)
