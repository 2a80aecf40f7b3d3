"""Examples from several token stores, each with its share of the targets.

Each store keeps its own packing, seeded epochs and held-out documents. The mixture only chooses the store of the next
example, from the targets drawn so far and without randomness, so its state is those counts and the stores' states.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain, combinations
from typing import Any

from revlm.corpus.examples.corpus import Corpus, CorpusStream, Example, PendingExample, StreamState, digest_of
from revlm.corpus.examples.packed import PackedCorpus
from revlm.errors import DataError, StorageError


class Shares:
    """Chooses which of several weighted stores is next, when turns have different sizes.

    The next is the one whose share of the tokens so far is furthest below its weight, the first of equals. So none is
    ever ahead of its weight by more than its last turn, or behind by more than the last turns of the others together;
    with two, both stay within one turn.

    Attributes:
        weights: the weight of each, as fractions whose sum is 1.
        tokens: the tokens of each so far; the caller adds each turn's.
    """

    def __init__(self, weights: Sequence[float | Fraction], tokens: Sequence[int] | None = None) -> None:
        # Exact arithmetic: two machines never choose differently.
        exact = [Fraction(str(weight)) for weight in weights]  # 0.1 is exactly a tenth
        total = sum(exact)
        self.weights = [weight / total for weight in exact]
        self.tokens = list(tokens or [0] * len(weights))

    def next(self) -> int:
        """Returns the index of the next one, from 0."""
        total = max(sum(self.tokens), 1)
        behind = [weight * total - tokens for weight, tokens in zip(self.weights, self.tokens, strict=True)]
        return behind.index(max(behind))


class Mixture(Corpus):
    """Several token stores as one corpus; an example's documents come from one store.

    Weights default to the stores' training tokens, with which their epochs end together.

    Attributes:
        stores: the stores, in order.
        weights: the weights of the stores, as fractions whose sum is 1.
        training_documents, validation_documents: the titles of all stores' documents.
        n_training_tokens, n_validation_tokens: sums over the stores, one epoch of each.

    Raises:
        DataError: the stores have different tokenizers, or two hold the same tokens.
    """

    def __init__(self, stores: Sequence[PackedCorpus], weights: Sequence[float] | None = None) -> None:
        for one, other in combinations(stores, 2):
            _require_compatible(one, other)
        self.stores = tuple(stores)
        self.weights = Shares(weights or [store.n_training_tokens for store in stores]).weights
        self.name = ", ".join(store.name for store in stores)
        self.tokenizer = stores[0].tokenizer
        self.fingerprint = digest_of([store.fingerprint for store in stores])
        self.longest_example = max(store.longest_example for store in stores)
        self.training_documents = tuple(title for store in stores for title in store.training_documents)
        self.validation_documents = tuple(title for store in stores for title in store.validation_documents)
        self.n_training_tokens = sum(store.n_training_tokens for store in stores)
        self.n_validation_tokens = sum(store.n_validation_tokens for store in stores)
        self.notices = self._notices()
        self._settings = digest_of([self.fingerprint, *map(str, self.weights)])

    def training(self, state: StreamState | None = None) -> "MixedStream":
        """As `Corpus.training`; a state fits only the same stores in the same order with the same weights."""
        return MixedStream(self, state)

    def validation(self) -> Iterator[Example]:
        """As `Corpus.validation`; the stores are interleaved and end together, so any prefix samples each."""
        held_out = [store for store in self.stores if store.n_validation_tokens]
        examples = [store.validation() for store in held_out]
        shares = Shares([store.n_validation_tokens for store in held_out])
        while sum(shares.tokens) < self.n_validation_tokens:
            turn = shares.next()
            example = next(examples[turn])
            shares.tokens[turn] += len(example)
            yield example

    def documents(self, *, held_out: bool) -> Iterator[tuple[str, Iterator[tuple[int, Example]]]]:
        return chain.from_iterable(store.documents(held_out=held_out) for store in self.stores)

    def _notices(self) -> tuple[str, ...]:
        shares = [f"{float(weight):.1%} {store.name}" for store, weight in zip(self.stores, self.weights, strict=True)]
        of_stores = [f"{store.name}: {notice}" for store in self.stores for notice in store.notices]
        return (f"the targets are a mixture: {', '.join(shares)}", *of_stores)


class MixedStream(CorpusStream):
    """The endless training examples of a mixture; the state is each store's targets so far and its stream's state."""

    def __init__(self, mixture: Mixture, state: StreamState | None) -> None:
        self._mixture = mixture
        targets, states = (None, [None] * len(mixture.stores)) if state is None else self._parsed(state)
        self._shares = Shares(mixture.weights, targets)
        self._streams = [store.training(inner) for store, inner in zip(mixture.stores, states, strict=True)]

    def draw(self) -> PendingExample:
        turn = self._shares.next()
        pending = self._streams[turn].draw()
        self._shares.tokens[turn] += pending.tokens
        return pending

    def set_seq_len(self, seq_len: int) -> None:
        for stream in self._streams:
            stream.set_seq_len(seq_len)

    def state(self) -> StreamState:
        return {
            "targets": list(self._shares.tokens),
            "stores": [stream.state() for stream in self._streams],
            "settings": self._mixture._settings,
        }

    def _parsed(self, state: StreamState) -> tuple[list[int], list[Any]]:
        if state.get("settings") != self._mixture._settings:
            raise StorageError(
                f"the checkpoint's position in the corpus does not fit the mixture of {self._mixture.name}: the "
                "stores, their order or their weights in data.path changed; restore them, or start a new run"
            )
        targets, states, number = state.get("targets"), state.get("stores"), len(self._mixture.stores)
        if not (
            isinstance(targets, list)
            and all(type(each) is int and each >= 0 for each in targets)
            and isinstance(states, list)
            and all(isinstance(each, dict) for each in states)
            and len(targets) == len(states) == number
        ):
            raise StorageError("the checkpoint's position in the corpus is damaged; resume from an earlier checkpoint")
        return targets, states


def _require_compatible(one: PackedCorpus, other: PackedCorpus) -> None:
    if one.fingerprint == other.fingerprint:
        raise DataError(
            f"data.path holds the same tokens twice, {one.name} and {other.name}: "
            "name them once, with a larger weight if they should count for more"
        )
    if one.tokenizer.fingerprint != other.tokenizer.fingerprint:
        raise DataError(
            f"{one.name} and {other.name} were made with different tokenizers: tokenize the second again with the "
            f"tokenizer of the first, `revlm tokenize CORPUS -o {other.name} --tokenizer {one.name}`"
        )
