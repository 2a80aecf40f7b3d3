"""Examples from several token stores, each taking its share of the targets.

A store keeps everything of its own: packing, epochs in their seeded order, held-out documents. The mixture decides
only whose example is next, from the targets so far: without chance, so its place is those counts and the places in
the stores.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain, combinations
from typing import Any

from revlm.corpus.examples.corpus import Corpus, Example, ExampleStream, PendingExample, StreamState, digest_of
from revlm.corpus.examples.packed import PackedCorpus
from revlm.errors import DataError, StorageError


class Shares:
    """Whose turn it is among several that take turns of different sizes, by weight.

    It is always the turn of the one whose share of the tokens so far is furthest below its weight, the first of
    equals. So none is ever ahead of its weight by more than its last turn, and behind by more than the last turns of
    the others together: with two, both within one turn.

    Attributes:
        weights: of each, as fractions whose sum is 1.
        tokens: of each so far; the one whose turn it was adds what it took.
    """

    def __init__(self, weights: Sequence[float | Fraction], tokens: Sequence[int] | None = None) -> None:
        # Exact numbers: two machines never disagree on what is furthest below.
        exact = [Fraction(str(weight)) for weight in weights]  # as they are written: 0.1 is a tenth
        total = sum(exact)
        self.weights = [weight / total for weight in exact]
        self.tokens = list(tokens or [0] * len(weights))

    def next(self) -> int:
        """Returns whose turn it is, from 0."""
        total = max(sum(self.tokens), 1)
        behind = [weight * total - tokens for weight, tokens in zip(self.weights, self.tokens, strict=True)]
        return behind.index(max(behind))


class Mixture(Corpus):
    """Several token stores as one corpus; the documents of an example are of one store.

    Weights default to the stores' training tokens, with which their epochs run together.

    Attributes:
        stores: in their order.
        weights: of the stores, as fractions whose sum is 1.
        training_documents, validation_documents: those of the stores.
        n_training_tokens, n_validation_tokens: those of all stores, of one epoch of each.

    Raises:
        DataError: the stores have different tokenizers, or one stands twice.
    """

    def __init__(self, stores: Sequence[PackedCorpus], weights: Sequence[float] | None = None) -> None:
        for one, other in combinations(stores, 2):
            _require_a_fit(one, other)
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
        """As `Corpus.training`; a state belongs to the same stores in the same order, with the same weights."""
        return MixedStream(self, state)

    def validation(self) -> Iterator[Example]:
        """As `Corpus.validation`; the stores take turns and end together, so that a part of it has of each."""
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


class MixedStream(ExampleStream):
    """The endless training examples of a mixture; a place is the targets of each store and the place in it."""

    def __init__(self, mixture: Mixture, state: StreamState | None) -> None:
        self._mixture = mixture
        targets, places = (None, [None] * len(mixture.stores)) if state is None else self._place_in(state)
        self._shares = Shares(mixture.weights, targets)
        self._streams = [store.training(place) for store, place in zip(mixture.stores, places, strict=True)]

    def draw(self) -> PendingExample:
        turn = self._shares.next()
        pending = self._streams[turn].draw()
        self._shares.tokens[turn] += pending.tokens
        return pending

    def state(self) -> StreamState:
        return {
            "targets": list(self._shares.tokens),
            "stores": [stream.state() for stream in self._streams],
            "settings": self._mixture._settings,
        }

    def _place_in(self, state: StreamState) -> tuple[list[int], list[Any]]:
        if state.get("settings") != self._mixture._settings:
            raise StorageError(
                f"the checkpoint's place in the corpus does not fit the mixture of {self._mixture.name}: the stores, "
                "their order or their weights in data.path changed; restore them, or start a new run"
            )
        targets, places, number = state.get("targets"), state.get("stores"), len(self._mixture.stores)
        if not (
            isinstance(targets, list)
            and all(type(each) is int and each >= 0 for each in targets)
            and isinstance(places, list)
            and all(isinstance(each, dict) for each in places)
            and len(targets) == len(places) == number
        ):
            raise StorageError("the checkpoint's place in the corpus is damaged; go on from an earlier checkpoint")
        return targets, places


def _require_a_fit(one: PackedCorpus, other: PackedCorpus) -> None:
    if one.fingerprint == other.fingerprint:
        raise DataError(
            f"data.path holds the same tokens twice, {one.name} and {other.name}: "
            "name them once, and give them a larger weight where they should count for more"
        )
    if one.tokenizer.fingerprint != other.tokenizer.fingerprint:
        raise DataError(
            f"{one.name} and {other.name} were made with different tokenizers: make the second again with that of the "
            f"first, `revlm tokenize CORPUS -o {other.name} --tokenizer {one.name}`"
        )
