"""Examples, and what training, evaluation and planning see of the corpus that gives them.

A corpus may be one token store (`packed_corpus`) or several (`mixture`); `opening` chooses by the recipe.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from revlm.corpus.tokenizer import TokenIds, Tokenizer

Place = dict[str, Any]
"""A place in a stream of examples, as a dict for JSON."""


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
        epoch: the epoch of the first target in its token store, from 1; 0 for validation.
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


@dataclass(frozen=True)
class Draft:
    """An example that is chosen and not made yet; `make` may be called in any thread."""

    tokens: int
    make: Callable[[], Example]


class ExampleStream(ABC):
    """Training examples without end; `state()` is the place after the last one drawn."""

    @abstractmethod
    def draw(self) -> Draft:
        """Goes on by one example and returns it as a draft: quick, and in one thread at a time."""

    @abstractmethod
    def state(self) -> Place:
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
        fingerprint: a sha256 of all its tokens, in hexadecimal; what a checkpoint must share with a run.
        notices: sentences that a user should see, for example that only a tail is held out.
        longest_example: a bound on the tokens of an example.
        training_documents: titles of the documents trained on, in the stores' order.
        validation_documents: titles of those held out; a document whose tail is held out is in both.
        n_training_tokens: the targets of training, each counted once.
        n_validation_tokens: the targets of one validation.
    """

    name: str
    tokenizer: Tokenizer
    fingerprint: str
    notices: tuple[str, ...]
    longest_example: int
    training_documents: tuple[str, ...]
    validation_documents: tuple[str, ...]
    n_training_tokens: int
    n_validation_tokens: int

    @abstractmethod
    def training(self, state: Place | None = None) -> ExampleStream:
        """Returns the endless examples, epoch after epoch, from the start or from an `ExampleStream.state()`.

        Raises:
            StorageError: the state is damaged, or belongs to another corpus or other settings.
        """

    @abstractmethod
    def validation(self) -> Iterator[Example]:
        """Yields the held-out text in a fixed order, each target once; always packed as `whole`."""

    @abstractmethod
    def documents(self, *, held_out: bool) -> Iterator[tuple[str, Iterator[tuple[int, Example]]]]:
        """Yields each document held out, or each trained on, in the stores' order: its title and its pieces.

        A piece is where it begins in the document and an example of its own, of at most `seq_len` tokens.
        """
