"""Examples, and what training, evaluation and planning see of the corpus that gives them.

A corpus may be one token store (`packed`), several (`mixture`), or texts that are tokenized while they are
trained on (`streamed`); `opening` chooses by the recipe.
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
    """Returns the sha256 of values that JSON can hold: a place fits the corpus whose settings have the same one."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclass(frozen=True)
class Example:
    """What one example holds; every input position has a target.

    Attributes:
        inputs: int32 [tokens]; a document begins with the begin token, or, where it continues, with the token
            before.
        targets: int32 [tokens]; the text, each token of it once an epoch.
        document: int32 [tokens], 0, 1, 2, ... in contiguous runs; positions of different numbers must not
            meet.
        titles: the title of each of those documents.
        epoch: the epoch of the first target, in a mixture that of its token store, from 1; 0 for validation.
        target_bytes: the UTF-8 bytes of all targets.
    """

    inputs: TokenIds
    targets: TokenIds
    document: TokenIds
    titles: tuple[str, ...]
    epoch: int
    target_bytes: int

    def __len__(self) -> int:
        return len(self.targets)


class Segment(NamedTuple):
    """A piece of a document, of so many tokens, that becomes part of an example.

    `before` is the token before it, the begin token where it is the document's first; `copy_into` writes its tokens
    into an int32 array of their number.
    """

    title: str
    before: int
    tokens: int
    copy_into: Callable[[TokenIds], object]


def example_of(segments: Sequence[Segment], epoch: int, tokenizer: Tokenizer) -> Example:
    """Returns the example of pieces of different documents, in their order."""
    n_tokens = sum(segment.tokens for segment in segments)
    inputs, targets, document = (np.empty(n_tokens, dtype=np.int32) for _ in range(3))
    place = 0
    for number, segment in enumerate(segments):
        here = slice(place, place + segment.tokens)
        segment.copy_into(targets[here])
        inputs[place] = segment.before
        inputs[place + 1 : here.stop] = targets[place : here.stop - 1]
        document[here] = number
        place = here.stop
    titles = tuple(segment.title for segment in segments)
    return Example(inputs, targets, document, titles, epoch, int(tokenizer.byte_lengths[targets].sum()))


@dataclass(frozen=True)
class PendingExample:
    """An example that is chosen and not made yet; `make` may be called in any thread."""

    tokens: int
    make: Callable[[], Example]


class ExampleStream(ABC):
    """Training examples without end; `state()` is the place after the last one drawn."""

    @abstractmethod
    def draw(self) -> PendingExample:
        """Goes on by one example and returns it before it is made, in one thread at a time.

        Quick, unless what an example holds depends on what it takes time to make (`streamed`).
        """

    @abstractmethod
    def state(self) -> StreamState:
        """The place, as a dict for JSON; `Corpus.training` goes on from it with identical examples."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Example:
        return self.draw().make()


class Corpus(ABC):
    """What training, evaluation and planning use of a corpus.

    Attributes:
        name: where it lies, for messages.
        tokenizer: that of all its tokens.
        fingerprint: a sha256 of all its tokens, or of what they are made from, in hexadecimal; what a checkpoint must
            share with a run.
        notices: sentences that a user should see, for example that only a tail is held out.
        longest_example: a bound on the tokens of an example.
    """

    name: str
    tokenizer: Tokenizer
    fingerprint: str
    notices: tuple[str, ...]
    longest_example: int

    @abstractmethod
    def training(self, state: StreamState | None = None) -> ExampleStream:
        """Returns the endless examples, epoch after epoch, from the start or from an `ExampleStream.state()`.

        Raises:
            StorageError: the state is damaged, or belongs to another corpus or other settings.
        """

    @abstractmethod
    def validation(self) -> Iterator[Example]:
        """Yields the held-out text in a fixed order, each target once; always packed as `whole`."""

    @abstractmethod
    def documents(self, *, held_out: bool) -> Iterator[tuple[str, Iterator[tuple[int, Example]]]]:
        """Yields each document held out, or each trained on, in the corpus's order: its title and its pieces.

        A piece is where it begins in the document and an example of its own, of at most `seq_len` tokens. The pieces
        of one document are to be taken before the next.
        """
