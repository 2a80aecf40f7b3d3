"""The held-out texts that probes use: a bounded sample of documents, drawn by seed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from revlm.corpus import Example
from revlm.evaluation.scorer import Tokens


@dataclass(frozen=True)
class Text:
    """A held-out document, or the held-out part of one: its tokens, and the input before its first token."""

    title: str
    before: int
    tokens: Tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def inputs(self, stop: int) -> Tokens:
        """The inputs whose targets are the first `stop` tokens."""
        return np.concatenate([np.array([self.before], dtype=np.int32), self.tokens[: stop - 1]])


class TextSample:
    """A random sample of at most `size` documents, each equally likely; the same seed draws the same sample.

    Each document draws a number, and those with the smallest numbers stay (after Vitter's reservoir sampling, ACM TOMS
    11(1), 1985). At most one document beside the sample is in memory.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._generator = size, np.random.default_rng(seed)
        self._kept: list[tuple[float, Text]] = []

    def collect(self, title: str, pieces: Iterable[tuple[int, Example]]) -> Iterator[tuple[int, Example]]:
        """Yields the pieces of a document unchanged, and offers the document to the sample at its end."""
        parts: list[Tokens] = []
        before = 0
        for start, example in pieces:
            if not parts:
                before = int(example.inputs[0])
            parts.append(example.targets)
            yield start, example
        if parts:
            self._offer(Text(title, before, np.concatenate(parts)))

    def texts(self) -> list[Text]:
        """The sampled documents, in document order."""
        return [text for _, text in self._kept]

    def _offer(self, text: Text) -> None:
        self._kept.append((float(self._generator.random()), text))
        self._kept.sort(key=lambda pair: pair[0])
        del self._kept[self._size :]


def beginnings(texts: Iterable[Text], longest: int, tokens: int) -> list[Text]:
    """Returns the beginnings of texts, each of at most `longest` tokens, in order up to `tokens` in total."""
    chosen: list[Text] = []
    for text in texts:
        length = min(len(text), longest, tokens)
        if length:
            chosen.append(Text(text.title, text.before, text.tokens[:length]))
        tokens -= length
    return chosen


def vocabulary_of(texts: Iterable[Text]) -> Tokens:
    """Returns the tokens that occur in texts, in ascending order.

    Probes draw random tokens from these, because a model has learned nothing about tokens that its corpus lacks.
    """
    return np.unique(np.concatenate([text.tokens for text in texts]))
