"""Examples, and the interface of a corpus that training, evaluation and planning use.

A corpus is one token store (`packed`), several (`mixture`), or texts that are tokenized during training (`streamed`);
`opening` opens the one that a recipe names.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from revlm.corpus.tokenizing.tokenizer import TokenIds, Tokenizer

StreamState = dict[str, Any]
"""The position in a stream of examples, as a dict for JSON."""


def digest_of(values: Sequence[Any]) -> str:
    """Returns the sha256 of JSON values: a stream state fits a corpus whose settings have the same digest."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclass(frozen=True)
class Example:
    """One training or validation example; every input position has a target.

    Attributes:
        inputs: int32 [tokens]; the first input of a document is the begin token, or the preceding token where the
            example continues the document.
        targets: int32 [tokens]; the text, each of its tokens once per epoch.
        document_ids: int32 [tokens], 0, 1, 2, ... in contiguous runs; positions with different numbers must not attend
            to each other.
        titles: the title of each document.
        epoch: the epoch of the first target, from 1, counted per store in a mixture; 0 for validation.
        target_bytes: the UTF-8 bytes of all targets.
    """

    inputs: TokenIds
    targets: TokenIds
    document_ids: TokenIds
    titles: tuple[str, ...]
    epoch: int
    target_bytes: int

    def __len__(self) -> int:
        return len(self.targets)


class Segment(NamedTuple):
    """A piece of a document, `tokens` long, that becomes part of an example.

    `before` is the preceding token, the begin token at the document's start; `copy_into` writes the piece's tokens
    into an int32 [tokens] array.
    """

    title: str
    before: int
    tokens: int
    copy_into: Callable[[TokenIds], object]


def example_of(segments: Sequence[Segment], epoch: int, tokenizer: Tokenizer) -> Example:
    """Returns the example made of pieces of different documents, in order."""
    n_tokens = sum(segment.tokens for segment in segments)
    inputs, targets, document_ids = (np.empty(n_tokens, dtype=np.int32) for _ in range(3))
    place = 0
    for number, segment in enumerate(segments):
        here = slice(place, place + segment.tokens)
        segment.copy_into(targets[here])
        inputs[place] = segment.before
        inputs[place + 1 : here.stop] = targets[place : here.stop - 1]
        document_ids[here] = number
        place = here.stop
    titles = tuple(segment.title for segment in segments)
    return Example(inputs, targets, document_ids, titles, epoch, int(tokenizer.byte_lengths[targets].sum()))


@dataclass(frozen=True)
class PendingExample:
    """An example whose tokens are chosen but not copied yet; `make` may be called in any thread."""

    tokens: int
    make: Callable[[], Example]


class ExampleStream(ABC):
    """An endless stream of training examples; `state()` is the position after the last one drawn."""

    @abstractmethod
    def draw(self) -> PendingExample:
        """Advances by one example and returns it before it is made; call it from one thread at a time.

        Quick, except in `streamed`, where choosing an example tokenizes it.
        """

    @abstractmethod
    def state(self) -> StreamState:
        """Returns the position as a dict for JSON; `Corpus.training` resumes from it with identical examples."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Example:
        return self.draw().make()


class CorpusStream(ExampleStream):
    """The training examples of a corpus, whose length can change between two draws."""

    @abstractmethod
    def set_seq_len(self, seq_len: int) -> None:
        """Sets the length of the following examples, at most the corpus's; no target is lost or doubled.

        A resumed stream has the length that it had, a new one the corpus's.
        """


class Corpus(ABC):
    """The interface of a corpus that training, evaluation and planning use.

    Attributes:
        name: its path or address, for messages.
        tokenizer: the tokenizer of all its tokens.
        fingerprint: the sha256, in hexadecimal, of all its tokens or of the texts that they are made from; a
            checkpoint resumes only on a corpus with the same one.
        notices: sentences for the user, for example that only a tail is held out.
        longest_example: an upper bound on the tokens of an example.
    """

    name: str
    tokenizer: Tokenizer
    fingerprint: str
    notices: tuple[str, ...]
    longest_example: int

    @abstractmethod
    def training(self, state: StreamState | None = None) -> CorpusStream:
        """Returns the endless stream of examples, from the start or resumed from an `ExampleStream.state()`.

        Raises:
            StorageError: the state is damaged, or belongs to another corpus or other settings.
        """

    @abstractmethod
    def validation(self) -> Iterator[Example]:
        """Yields the held-out text in a fixed order, each target once; always with `whole` packing."""

    @abstractmethod
    def documents(self, *, held_out: bool) -> Iterator[tuple[str, Iterator[tuple[int, Example]]]]:
        """Yields the title and the pieces of each held-out document, or of each training document, in corpus order.

        A piece is its start, in tokens of the document, and an example of at most `seq_len` tokens. Consume the pieces
        of one document before requesting the next.
        """
